// Inbox: the mailboxes, the person's own first; their unread, all or sent mail; one message in full
// with its receipts and a reply form; a form for new mail. Opening a message does not mark it as read:
// the person does that explicitly.

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../dom.js';
import {
  state,
  throttledList,
  openMailbox as mailboxOf,
  mailIn,
  isPending,
  pendingMailCount,
  invalidate
} from '../store.js';
import {
  openMailbox,
  loadOlderMail,
  sendMail,
  setMailStatus,
  markAllRead,
  confirmRecipient,
  fetchMailDetails,
  showNotice
} from '../sync.js';
import {
  TwoLineList,
  SplitView,
  EmptyState,
  Initials,
  setInitials,
  Tag,
  setTag,
  mailTag,
  Field,
  Select,
  handleSubmit,
  Chips,
  button
} from '../components.js';
import { authorOf, isByPerson, displayName, HUMAN } from '../authors.js';
import { ReplyForm } from '../reply_form.js';
import { WakeNote } from '../wake_note.js';
import { capitalize, formatDateTimeOrEmpty, formatDayAndTime, pluralize } from '../format.js';
import { routeTo, routeToRow, routeToNewMail, queryString } from '../routes.js';
import { oneLine, safeText } from '../safe_text.js';
import { showRendered } from '../rendered_text.js';

const MAX_MAILBOX_CHIPS = 12;
const FILTERS = ['unread', 'all', 'sent'];
/** The receipts of an open, unread message are requested this often: no event reports them. */
const RECEIPTS_INTERVAL_MS = 3000;

function mailboxLabel(name) {
  if (name === '*') return 'All mailboxes';
  return name === 'all' ? 'To everyone' : displayName(name);
}

const agentMailboxes = () =>
  [...state.mailboxes.values()]
    .filter(mailbox => !/^(human|\*|>.*)$/.test(mailbox.name))
    .sort((a, b) => b.unread - a.unread || (a.name < b.name ? -1 : 1));

/** The status of mail to everyone differs by reader, and follows from receipts. */
const unreadIn = name =>
  name === HUMAN ? pendingMail().length : name === 'all' ? 0 : state.mailboxes.get(name)?.unread;

const toggledStatus = mail => (mail.status === 'unread' ? 'read' : 'unread');

// ---- delivery ----

const RECEIPT_LABELS = {
  offered: 'Delivered to',
  seen: 'Read by',
  acked: 'Acknowledged by',
  archived: 'Archived by'
};

function receiptLine(receipt) {
  const label = RECEIPT_LABELS[receipt.state] || capitalize(safeText(receipt.state, 30)) + ' by';
  const isPerson = receipt.reader === HUMAN;
  const reader = isPerson ? 'you' : displayName(receipt.reader);
  const via = receipt.via && !isPerson ? ` (${safeText(receipt.via, 60)})` : '';
  return `${label} ${reader}${via} · ${formatDayAndTime(receipt.created_at)}`;
}

/** Returns the facts about the delivery of a message, one per line. */
function deliveryLines(mail, receipts) {
  const sender = isByPerson(mail) ? 'you' : authorOf(mail).label;
  const lines = [`Sent by ${sender} · ${formatDayAndTime(mail.created_at)}`, ...receipts.map(receiptLine)];
  if (mail.to_inbox === 'all') {
    const readers = new Set(receipts.map(receipt => receipt.reader));
    // Agents that appeared later do not get it.
    const wasThere = agent => !(agent.created_at > mail.created_at);
    const missing = [...state.agents.values()]
      .filter(agent => wasThere(agent) && agent.id !== mail.from_agent && !readers.has(agent.id))
      .map(agent => agent.id);
    if (missing.length) lines.push('Not read yet by ' + missing.map(name => safeText(name, 60)).join(', '));
  }
  if (mail.claimed_by) {
    lines.push(`Claimed by ${safeText(mail.claimed_by, 60)} until ${formatDayAndTime(mail.claim_expires_at)}`);
  }
  const hasReadReceipt = receipts.some(receipt => receipt.state !== 'offered');
  if (mail.read_at && !hasReadReceipt) lines.push('Read · ' + formatDayAndTime(mail.read_at));
  else if (mail.status === 'unread' && lines.length === 1) {
    lines.push(mail.to_inbox === HUMAN ? 'You haven’t read it yet' : 'Not read yet');
  }
  return lines;
}

export default function inbox() {
  // The route: a mailbox, the id of a message or 'new', a filter.
  let mailboxName = HUMAN;
  let id;
  let filter = 'all';
  /** The mailbox that is listed: `mailboxName`, or '>name' for what that name has sent. */
  let source = HUMAN;
  let query = '';
  /** { id, row, receipts, missing, status }: the open message as the hub returned it. */
  let details = null;
  let detailsRequestedAt = 0;
  let showAllMailboxes = false;

  const listedMail = throttledList('inbox', () =>
    mailIn(source).filter(mail => filter !== 'unread' || isPending(mail))
  );
  const listedMailboxes = throttledList('inbox', () => {
    const names = agentMailboxes().map(mailbox => mailbox.name);
    return [HUMAN, '*', ...(showAllMailboxes ? names : names.slice(0, MAX_MAILBOX_CHIPS))];
  });

  // ---- the list ----

  const mailboxChips = Chips('Mailboxes');
  const filterChips = Chips('Filter');
  const summary = element('p.facts');
  const hint = element('p.hint');
  const markAllButton = button('', markAll, 'button.link-button');
  const moreMailboxesButton = button(
    '',
    () => {
      showAllMailboxes = !showAllMailboxes;
      invalidate('inbox');
    },
    'button.link-button'
  );
  const wakeNote = WakeNote({ showsName: true });
  const list = TwoLineList({
    label: 'Messages, newest first',
    keyOf: mail => mail.id,
    describe: mail => {
      const recipients = authorOf(mail).label + ' → ' + displayName(mail.to_inbox);
      return {
        href: routeTo('inbox', mailboxName, mail.id) + query,
        author: authorOf(mail),
        title: oneLine(mail.title || mail.payload, 100) || '(no text)',
        tag: mailTag(mail),
        snippet: recipients + (isPending(mail) ? ' · unread' : ''),
        time: mail.created_at,
        isNew: isPending(mail)
      };
    },
    onNearEnd: () => loadOlderMail(source)
  });
  const empty = EmptyState('No messages yet', 'Messages wait here until read.', 'send', 'ask');

  // ---- one message ----

  const backLink = () => element('a.back', { href: '#/inbox' }, '← Inbox');
  const title = element('h2', { tabindex: -1 });
  const facts = element('p.facts');
  const initials = Initials();
  const authorNote = element('p.author-note', { 'data-tone': 'warn' });
  const tags = [Tag(), Tag(), Tag()];
  const body = element('div.mail-body', { dir: 'auto' });
  const receiptList = element('ol.receipts');
  const replyForm = ReplyForm();
  const mailView = element(
    'article.mail-view',
    element('header.view-header', backLink(), initials, title, ...tags, facts),
    authorNote,
    body,
    replyForm.root,
    element('h3', 'Delivery'),
    receiptList
  );

  // ---- new mail ----

  const recipientInput = element('input', { required: true, autocomplete: 'off', list: 'agents' });
  const prioritySelect = Select(['info', 'action', 'urgent']);
  const textInput = element('textarea', { required: true });
  const alert = element('p.form-error', { role: 'alert' });
  const submitButton = element('button.primary', 'Send');
  const newMailForm = element(
    'form.new-mail',
    element(
      'header.view-header',
      backLink(),
      element('h2', 'New message'),
      element('p.facts', 'Agents see “human” as the sender.')
    ),
    element('div.form-grid', Field('To', recipientInput), Field('Priority', prioritySelect)),
    Field('Text', textInput),
    element('div.toolbar', alert, submitButton)
  );
  handleSubmit({
    form: newMailForm,
    submitButton,
    alert,
    verb: 'send',
    async submit() {
      const recipient = recipientInput.value.trim();
      confirmRecipient(recipient);
      const mail = await sendMail({
        to_inbox: recipient,
        payload: textInput.value,
        priority: prioritySelect.value
      });
      textInput.value = '';
      location.hash = routeToRow(mail);
    }
  });

  const root = SplitView(
    'inbox',
    [
      element(
        'header.view-header',
        element('h1', 'Inbox'),
        summary,
        element('a.primary', { href: routeToNewMail() }, 'New message')
      ),
      mailboxChips,
      element('div.toolbar', filterChips, moreMailboxesButton, markAllButton),
      wakeNote.root,
      empty,
      list.root
    ],
    [hint, mailView, newMailForm]
  );

  /** Returns the open message from any mailbox that has it. */
  function openMail() {
    const rows = [source, mailboxName, HUMAN, '*'].map(name => state.mailboxes.get(name)?.rows?.get(id));
    return rows.find(Boolean) || (id && details?.id === id && details.row);
  }

  async function markAll() {
    markAllButton.disabled = true;
    try {
      await markAllRead(source);
    } catch (error) {
      showNotice('Couldn’t mark the messages as read: ' + error.message);
    }
    markAllButton.disabled = false;
    invalidate('all');
  }

  function toggleRead(mail) {
    setMailStatus(mail, toggledStatus(mail)).catch(error => showNotice('Couldn’t mark the message: ' + error.message));
  }

  async function loadDetails() {
    if (details?.id !== id) details = { id };
    const loading = details;
    detailsRequestedAt = Date.now();
    try {
      loading.row = await fetchMailDetails(loading.id);
      loading.receipts = loading.row.receipts;
      invalidate('inbox');
    } catch (error) {
      loading.missing = error.status === 404;
    }
  }

  function drawDelivery(mail) {
    const lines = deliveryLines(mail, details?.receipts || []);
    const content = lines.join('\n');
    if (receiptList.content === content) return;
    receiptList.content = content;
    receiptList.replaceChildren(...lines.map(line => element('li', line)));
  }

  function hintText(mail, mailbox, mailCount) {
    if (id === 'new' || mail) return '';
    if (id) return details?.missing ? 'Message not found.' : 'Loading…';
    if (mailCount) return 'Select a message to read it.';
    if (!mailbox.filled) return 'Loading…';
    if (!empty.hidden) return '';
    return filter === 'unread' ? 'No unread messages.' : 'No messages.';
  }

  function filterHref(name) {
    return routeTo('inbox', mailboxName) + queryString({ show: name === 'all' ? '' : name });
  }

  function drawChips(topics) {
    const names = listedMailboxes(topics, mailboxChips.matches(':hover'));
    mailboxChips.set(
      names.map(name => ({
        label: mailboxLabel(name),
        href: routeTo('inbox', name),
        isCurrent: name === mailboxName,
        count: name === HUMAN ? pendingMailCount() : unreadIn(name)
      }))
    );
    filterChips.set(
      FILTERS.map(name => ({ label: capitalize(name), href: filterHref(name), isCurrent: name === filter }))
    );
    const hiddenCount = agentMailboxes().length - MAX_MAILBOX_CHIPS;
    const moreLabel = showAllMailboxes ? 'Show fewer mailboxes' : `Show ${pluralize(hiddenCount, 'more mailbox', 'more mailboxes')}`;
    setTextOrHide(moreMailboxesButton, hiddenCount > 0 ? moreLabel : '');
  }

  function drawList(topics, mailbox) {
    const listKey = source + filter;
    const mails = listedMail(topics, list.isInUse() && list.listKey === listKey);
    list.listKey = listKey;
    list.render(mails, id ?? null);
    const isOwn = source === HUMAN;
    const pending = isOwn ? pendingMailCount() : mailIn(source).filter(isPending).length;
    const unread = filter === 'sent' ? 0 : pending;
    const hasMore = mailbox.hasMoreUnread && !isOwn;
    setTextOrHide(markAllButton, unread && `Mark ${unread}${hasMore ? '+' : ''} as read`);
    empty.show(state.loaded && !mails.length && mailboxName === HUMAN && filter === 'all');
    const count = mails.length ? ` · ${mails.length}${mailbox.next ? '+' : ''}` : '';
    setText(summary, mailboxLabel(mailboxName) + count);
    return mails;
  }

  function drawMail(mail) {
    const author = authorOf(mail);
    setInitials(initials, author);
    setText(title, safeText(mail.title, 300) || '(no title)');
    const words = [mail.message_type, mail.priority === 'info' ? '' : mail.priority, mail.status];
    words.forEach((word, i) => setTag(tags[i], word));
    const recipients = `${author.label} → ${displayName(mail.to_inbox)}`;
    setText(facts, `${recipients} · ${formatDateTimeOrEmpty(mail.created_at)}`);
    showRendered(body, { kind: 'inbox', id: mail.id, field: 'payload', text: mail.payload || '' });
    setTextOrHide(authorNote, author.note);
    setHidden(replyForm.root, isByPerson(mail));
    replyForm.set(mail);
    drawDelivery(mail);
  }

  function refreshDetails(mail) {
    if (!id || id === 'new' || !state.loaded) return;
    const isOther = details?.id !== id;
    const hasChanged = mail && details?.status !== mail.status;
    const isOld = mail?.status === 'unread' && Date.now() - detailsRequestedAt > RECEIPTS_INTERVAL_MS;
    if (!isOther && !hasChanged && !isOld) return;
    loadDetails();
    details.status = mail?.status;
  }

  return {
    root,
    title: 'Inbox',
    keys: {
      a() {
        const row = document.activeElement.closest?.('.row');
        const mail = row && list.items[row.index];
        if (mail) toggleRead(mail);
        else if (!mailView.hidden) replyForm.markButton.click();
      },
      r: () => mailView.hidden || replyForm.input.focus(),
      m() {
        location.hash = routeToNewMail();
      }
    },
    route([name = HUMAN, mailId], params) {
      mailboxName = name;
      id = mailId;
      filter = FILTERS.includes(params.get('show')) ? params.get('show') : 'all';
      source = filter === 'sent' ? '>' + mailboxName : mailboxName;
      query = queryString({ show: filter === 'all' ? '' : filter });
      if (id === 'new') {
        recipientInput.value = params.get('to') || recipientInput.value;
        requestAnimationFrame(() => (recipientInput.value ? textInput : recipientInput).focus());
      }
      setText(alert, '');
      setAttribute(root, 'data-detail', id);
    },
    render(topics) {
      if (topics.has('all')) openMailbox(source);
      const mailbox = mailboxOf(source);
      const mail = id !== 'new' && openMail();
      drawChips(topics);
      const mails = drawList(topics, mailbox);
      wakeNote.set(mailboxName, state.agents.get(mailboxName)?.status !== 'running');
      setHidden(mailView, !mail);
      setHidden(newMailForm, id !== 'new');
      setTextOrHide(hint, hintText(mail, mailbox, mails.length));
      refreshDetails(mail);
      if (mail) drawMail(mail);
    }
  };
}
