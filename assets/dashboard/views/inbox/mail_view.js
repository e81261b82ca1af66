// One inbox message in full, with the facts of its delivery and a reply form.

/** @import { Mail, Receipt, Request } from '../../types.d.ts' */

import { element, setText, setHidden, setTextOrHide } from '../../dom.js';
import { state } from '../../store.js';
import { Initials, NameLink, Tag } from '../../components/labels.js';
import { Lines } from '../../components/lists.js';
import { RenderedText } from '../../components/rendered_text.js';
import { ReplyForm } from '../../components/reply_form.js';
import { authorOf, displayName, HUMAN, inboxOwner, isByPerson } from '../../authors.js';
import { capitalize, formatDateTimeOrEmpty, formatDayAndTime } from '../../format.js';
import { safeText } from '../../safe_text.js';

/** @type {Map<string, string>} */
const RECEIPT_LABELS = new Map([
  ['offered', 'Delivered to'],
  ['seen', 'Read by'],
  ['acked', 'Acknowledged by'],
  ['archived', 'Archived by']
]);

/** @param {Receipt} receipt */
function receiptLine(receipt) {
  const label = RECEIPT_LABELS.get(receipt.state) || capitalize(safeText(receipt.state, 30)) + ' by';
  const isPerson = receipt.reader === HUMAN;
  const reader = isPerson ? 'you' : displayName(receipt.reader);
  const via = receipt.via && !isPerson ? ` (${safeText(receipt.via, 60)})` : '';
  return `${label} ${reader}${via} · ${formatDayAndTime(receipt.created_at)}`;
}

/**
 * Returns the agents that have no receipt of mail to everyone. Agents that appeared later do not get it.
 * @param {Mail} mail
 * @param {Receipt[]} receipts
 */
function missingReaders(mail, receipts) {
  const readers = new Set(receipts.map(receipt => receipt.reader));
  return [...state.agents.values()]
    .filter(agent => (agent.created_at || 0) <= mail.created_at)
    .filter(agent => agent.id !== mail.from_agent && !readers.has(agent.id))
    .map(agent => agent.id);
}

/**
 * Returns the facts about the delivery of a message, one per line.
 * @param {Mail} mail
 * @param {Receipt[]} receipts
 */
function deliveryLines(mail, receipts) {
  const sender = isByPerson(mail) ? 'you' : authorOf(mail).label;
  const lines = [`Sent by ${sender} · ${formatDayAndTime(mail.created_at)}`, ...receipts.map(receiptLine)];
  const missing = mail.to_inbox === 'all' ? missingReaders(mail, receipts) : [];
  if (missing.length) lines.push('Not read yet by ' + missing.map(name => safeText(name, 60)).join(', '));
  if (mail.claimed_by) {
    lines.push(`Claimed by ${safeText(mail.claimed_by, 60)} until ${formatDayAndTime(mail.claim_expires_at || 0)}`);
  }
  const hasReadReceipt = receipts.some(receipt => receipt.state !== 'offered');
  if (mail.read_at && !hasReadReceipt) lines.push('Read · ' + formatDayAndTime(mail.read_at));
  else if (mail.status === 'unread' && lines.length === 1) {
    lines.push(mail.to_inbox === HUMAN ? 'You haven’t read it yet' : 'Not read yet');
  }
  return lines;
}

/** @param {() => HTMLElement} BackLink */
export function MailView(BackLink) {
  const title = element('h2', { tabindex: -1 });
  const sender = NameLink();
  const recipient = NameLink();
  const sentAt = element('span');
  const facts = element('p.facts', sender.root, ' → ', recipient.root, ' · ', sentAt);
  const initials = Initials();
  const authorNote = element('p.author-note', { 'data-tone': 'warn' });
  const typeTag = Tag();
  const priorityTag = Tag();
  const statusTag = Tag();
  const body = RenderedText('div.mail-body');
  const receiptList = Lines('ol.receipts');
  const replyForm = ReplyForm();
  const root = element(
    'article.mail-view',
    element(
      'header.view-header',
      BackLink(),
      initials.root,
      title,
      typeTag.root,
      priorityTag.root,
      statusTag.root,
      facts
    ),
    authorNote,
    body.root,
    replyForm.root,
    element('h3', 'Delivery'),
    receiptList.root
  );
  return {
    root,
    replyForm,
    /**
     * @param {Request} mail
     * @param {Receipt[]} receipts
     */
    set(mail, receipts) {
      const author = authorOf(mail);
      initials.set(author);
      setText(title, safeText(mail.title, 300) || '(no title)');
      typeTag.set(mail.message_type);
      priorityTag.set(mail.priority === 'info' ? '' : mail.priority);
      statusTag.set(mail.status);
      sender.set(author);
      recipient.set(inboxOwner(mail.to_inbox));
      setText(sentAt, formatDateTimeOrEmpty(mail.created_at));
      body.set({ kind: 'inbox', id: mail.id, field: 'payload', text: mail.payload || '' });
      setTextOrHide(authorNote, author.note);
      setHidden(replyForm.root, isByPerson(mail));
      replyForm.set(mail);
      receiptList.set(deliveryLines(mail, receipts));
    }
  };
}
