// Mailboxes and their mail.

/** @import { Mail, Mailbox } from '../types.d.ts' */

import { state } from '../store.js';
import { HUMAN } from '../authors.js';
import { invalidate } from './schedule.js';
import { refresh } from './refresh.js';
import { noteActivity } from './activity.js';
import { addToFeed } from './feed.js';

const MAX_MAIL = 2000;

/**
 * Returns the mailbox with this name. Creates it if it is not in memory.
 * @param {string} name
 * @returns {Mailbox}
 */
export function openMailbox(name) {
  const known = state.mailboxes.get(name);
  if (known) return known;
  const mailbox = { name, unread: 0, rows: null, next: null };
  state.mailboxes.set(name, mailbox);
  return mailbox;
}

/**
 * @param {string} mailboxName
 * @param {Mail} mail
 */
function belongsTo(mailboxName, mail) {
  if (mailboxName === '*') return true;
  if (mailboxName[0] === '>') return mail.from_agent === mailboxName.slice(1);
  return mailboxName === mail.to_inbox || mail.to_inbox === 'all';
}

/**
 * Returns mail with its status for the person. Mail to everyone is one row with one status; whether the person has read it
 * is kept in `readBroadcasts`.
 * @param {Mail} mail
 * @returns {Mail}
 */
export const withPersonalStatus = mail =>
  mail.to_inbox === 'all' && mail.status === 'unread' && state.readBroadcasts.has(mail.id)
    ? { ...mail, status: 'read' }
    : mail;

/** @param {Mail} row */
export function putMail(row) {
  const mail = withPersonalStatus(row);
  for (const mailbox of state.mailboxes.values()) {
    if (mailbox.rows && belongsTo(mailbox.name, mail)) putIntoMailbox(mailbox, mailbox.rows, mail);
  }
  openMailbox(mail.to_inbox);
  noteActivity(mail.from_agent, mail.created_at);
  // The row is sent again when its status changes: that is not new mail.
  if (mail.status === 'unread' && !state.feed.some(entry => entry.row.id === mail.id)) {
    addToFeed('mail', mail.created_at, mail);
  }
  refresh.mailboxes();
  refresh.totals();
  refresh.wake();
  invalidate('inbox');
}

/**
 * @param {Mailbox} mailbox
 * @param {Map<string, Mail>} rows
 * @param {Mail} mail
 */
function putIntoMailbox(mailbox, rows, mail) {
  // Rows that the person did not write have no `verified`.
  rows.set(mail.id, { ...rows.get(mail.id), ...mail, verified: mail.verified });
  if (rows.size > MAX_MAIL) {
    const [oldestId] = rows.keys();
    rows.delete(oldestId);
    mailbox.hasMoreUnread = true;
  }
}

/**
 * Returns the loaded mail of a mailbox, newest first.
 * @param {string} name
 */
export function mailIn(name) {
  const rows = state.mailboxes.get(name)?.rows;
  if (!rows) return [];
  const now = Date.now();
  return [...rows.values()]
    .filter(mail => mail.status !== 'deleted' && !(mail.expires_at && mail.expires_at < now))
    .sort((a, b) => b.created_at - a.created_at);
}

/**
 * Returns the number of messages in a mailbox from the hub's counts, or undefined if it does not count them. The hub counts
 * mail to everyone by itself; of that, agents get what is newer than they are.
 * @param {string} name
 */
function countedMail(name) {
  const toAll = state.mailboxes.get('all')?.total || 0;
  if (name === '*') return [...state.mailboxes.values()].reduce((sum, { total = 0 }) => sum + total, 0);
  const total = state.mailboxes.get(name)?.total;
  if (name === HUMAN) return (total || 0) + toAll;
  return toAll && name !== 'all' ? undefined : total;
}

/**
 * Returns the number of messages, or of unread messages, in a mailbox as a text: exact, or with a + if the hub does not
 * count them and more exist than are loaded.
 * @param {Mailbox} mailbox
 * @param {number} loadedCount
 * @param {{ unreadOnly: boolean }} filter
 */
export function mailCountText(mailbox, loadedCount, { unreadOnly }) {
  const { name, next, unread, hasMoreUnread } = mailbox;
  if (unreadOnly && name === HUMAN) return String(pendingMailCount());
  if (next == null && !hasMoreUnread) return String(loadedCount);
  const toAll = state.mailboxes.get('all')?.total;
  const unreadCount = toAll || mailbox.total === undefined ? undefined : unread;
  const counted = unreadOnly ? unreadCount : countedMail(name);
  return counted === undefined ? loadedCount + '+' : String(Math.max(counted, loadedCount));
}

/** @param {Mail} mail */
const isClaimedByAgent = mail =>
  mail.claimed_by && mail.claimed_by !== HUMAN && (mail.claim_expires_at || 0) > Date.now();

/**
 * Returns whether mail is unread and not claimed by an agent.
 * @param {Mail} mail
 */
export const isPending = mail => mail.status === 'unread' && !isClaimedByAgent(mail);

/** Returns the pending mail to the person, as far as the page has it. */
export const pendingMail = () => mailIn(HUMAN).filter(isPending);

/**
 * Returns the number of pending mail to the person. The number of loaded rows is exact, and changes at once, if all rows
 * are loaded. Otherwise the hub's number counts.
 */
export function pendingMailCount() {
  const loaded = pendingMail().length;
  return state.mailboxes.get(HUMAN)?.hasMoreUnread ? Math.max(loaded, state.totals?.unread || 0) : loaded;
}
