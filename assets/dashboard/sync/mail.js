// Loads mailboxes, and does what the person does with mail: send, reply, mark as read.

/** @import { Mail, Mailbox, MailWithReceipts, Page, Request } from '../types.d.ts' */

import { get, patch } from '../api.js';
import { HUMAN } from '../authors.js';
import { showNotice, state } from '../store.js';
import * as store from '../store/mail.js';
import { markThreadRead } from '../store/read_marks.js';
import { invalidate } from '../store/schedule.js';
import { postAsPerson } from './person.js';
import { fetchMail, loadPage } from './rows.js';
import { postMessage } from './threads.js';

const MAX_TITLE = 80;
const CONCURRENT_REQUESTS = 8;

// ---- mailboxes ----

/**
 * Adds a page, which is newest first. The map is oldest first, so that its limit drops the oldest.
 * @param {Mailbox} mailbox
 * @param {Page<Mail>} page
 */
export function fillMailbox(mailbox, page) {
  // The person's own mailbox shows which mail to everyone the person has read.
  if (mailbox.name === HUMAN) {
    for (const mail of page.items) {
      if (mail.to_inbox === 'all' && mail.status === 'read') state.readBroadcasts.add(mail.id);
    }
  }
  mailbox.rows = new Map([
    ...page.items.reverse().map(mail => /** @type {const} */ ([mail.id, store.withPersonalStatus(mail)])),
    ...(mailbox.rows || [])
  ]);
  mailbox.next = page.next;
  mailbox.filled = true;
  invalidate('all');
}

/**
 * Loads the newest mail of a mailbox when it is first opened.
 * @param {string} name
 */
export function loadMailbox(name) {
  const mailbox = store.openMailbox(name);
  if (mailbox.filled || !state.loaded) return;
  // From here on live mail is kept: the response may be older.
  mailbox.rows ||= new Map();
  void loadPage(
    mailbox,
    () => fetchMail(name),
    page => fillMailbox(mailbox, page)
  );
}

/** @param {string} name */
export function loadOlderMail(name) {
  const mailbox = store.openMailbox(name);
  if (!mailbox.next) return;
  void loadPage(
    mailbox,
    () => fetchMail(name, { before: mailbox.next }),
    page => fillMailbox(mailbox, page)
  );
}

/**
 * Fetches mail with its receipts.
 * @param {string} id
 * @returns {Promise<MailWithReceipts>}
 */
export const fetchMailDetails = id => get('inbox/' + encodeURIComponent(id));

// ---- status ----

/**
 * Sets the status of mail for every reader; of mail to everyone, for the person only.
 * @param {Request} mail
 * @param {'read' | 'unread'} status
 */
export async function setMailStatus(mail, status) {
  if (mail.thread_id) return markThreadRead(mail.thread_id, mail.message_seq || 0);
  const row = await patch('inbox/' + encodeURIComponent(mail.id), { status });
  if (mail.to_inbox === 'all') {
    if (status === 'unread') state.readBroadcasts.delete(mail.id);
    else state.readBroadcasts.add(mail.id);
  }
  store.putMail({ ...mail, ...row, verified: row.verified, status });
}

/**
 * Marks all unread mail of a mailbox as read.
 * @param {string} name
 */
export async function markAllRead(name) {
  /** @type {Page<Mail>['next']} */
  let before;
  do {
    const page = await fetchMail(name, { status: 'unread', before, limit: 1000 });
    const remaining = page.items;
    const worker = async () => {
      for (let mail = remaining.pop(); mail; mail = remaining.pop()) await setMailStatus(mail, 'read');
    };
    await Promise.all(Array.from({ length: CONCURRENT_REQUESTS }, worker));
    before = page.next;
  } while (before != null);
  store.openMailbox(name).hasMoreUnread = false;
}

// ---- send and reply ----

/**
 * Sends mail; its title is the first line of the text unless `body` has one.
 * @param {Partial<Mail> & { payload: string, answers?: object }} body
 * @returns {Promise<Mail>}
 */
export async function sendMail(body) {
  const [firstLine] = body.payload.trim().split('\n');
  const title = [...firstLine].slice(0, MAX_TITLE).join('');
  const mail = await postAsPerson('inbox', { title, ...body });
  // Its sender has read it.
  if (mail.to_inbox === 'all') state.readBroadcasts.add(mail.id);
  store.putMail(mail);
  return mail;
}

/**
 * Returns the question as the page has shown it. The proof of the answer covers it, so that the answer is not valid for
 * another question.
 * @param {Mail} mail
 */
const shownQuestion = ({ message_id, from_agent, title, payload }) => ({ message_id, from_agent, title, payload });

/** Makes the id of a reply: a reply that is sent twice is one row. */
const pageId = Math.random().toString(36).slice(2);

/**
 * Replies to mail or to a question in a thread, and marks it as read.
 * @param {Request} mail
 * @param {string} text
 */
export async function reply(mail, text) {
  const replyId = pageId + mail.id;
  if (mail.thread_id) {
    const answer = { id: replyId, content: text, kind: 'result', to_id: mail.from_id, reply_to: mail.id };
    await postMessage(mail.thread_id, answer);
  } else {
    await sendMail({
      id: mail.status === 'unread' ? replyId : undefined,
      to_inbox: mail.from_agent,
      payload: text,
      message_type: 'response',
      correlation_id: mail.correlation_id || mail.message_id,
      answers: shownQuestion(mail)
    });
  }
  if (mail.status !== 'unread') return;
  await setMailStatus(mail, 'read').catch(error =>
    showNotice('Reply sent, but the message couldn’t be marked as read: ' + error.message)
  );
}
