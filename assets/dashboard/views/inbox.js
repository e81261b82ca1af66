// Inbox: the mailboxes, the person's own first; their unread, all or sent mail; one message in full; a form for new mail.
// Opening a message does not mark it as read: the person does that explicitly.

/** @import { ItemContent, Mail, Mailbox, Topics, View } from '../types.d.ts' */

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../dom.js';
import { showNotice, state } from '../store.js';
import { isPending, mailCountText, mailIn, openMailbox, pendingMailCount } from '../store/mail.js';
import { invalidate, throttledList } from '../store/schedule.js';
import { loadMailbox, loadOlderMail, markAllRead, setMailStatus } from '../sync/mail.js';
import { EmptyState } from '../components/commands.js';
import { button } from '../components/forms.js';
import { mailTag } from '../components/labels.js';
import { Chips, SplitView, TwoLineList } from '../components/lists.js';
import { OrderHold } from '../components/order_hold.js';
import { toggledStatus } from '../components/reply_form.js';
import { WakeNote } from '../components/wake_note.js';
import { authorOf, displayName, HUMAN } from '../authors.js';
import { capitalize, pluralize } from '../format.js';
import { routeTo, routeToNewMail, queryString } from '../routes.js';
import { oneLine } from '../safe_text.js';
import { MailDetails } from './inbox/mail_details.js';
import { MailView } from './inbox/mail_view.js';
import { NewMailForm } from './inbox/new_mail_form.js';

const MAX_MAILBOX_CHIPS = 12;
const FILTERS = ['unread', 'all', 'sent'];
/** In the place of a message's id: the form for new mail. */
const NEW = 'new';

/** @param {string} name */
function mailboxLabel(name) {
  if (name === '*') return 'All mailboxes';
  return name === 'all' ? 'To everyone' : displayName(name);
}

/** @param {Mailbox} mailbox */
const isAgentMailbox = ({ name }) => name !== HUMAN && name !== '*' && name[0] !== '>';

const agentMailboxes = () =>
  [...state.mailboxes.values()]
    .filter(isAgentMailbox)
    .sort((a, b) => b.unread - a.unread || (a.name < b.name ? -1 : 1));

/**
 * Returns the number that the chip of a mailbox shows.
 * @param {string} name
 */
function unreadIn(name) {
  if (name === HUMAN) return pendingMailCount();
  // The status of mail to everyone differs by reader, and follows from receipts.
  return name === 'all' ? 0 : state.mailboxes.get(name)?.unread;
}

/** The links to the mailboxes; those of agents above the limit are shown on request. */
function MailboxChips() {
  let showsAll = false;
  const chips = Chips('Mailboxes');
  const orderHeldMs = OrderHold(chips.root);
  const moreButton = button('', toggle, 'button.link-button');
  const listedNames = throttledList('inbox', () => {
    const names = agentMailboxes().map(mailbox => mailbox.name);
    return [HUMAN, '*', ...(showsAll ? names : names.slice(0, MAX_MAILBOX_CHIPS))];
  });
  function toggle() {
    showsAll = !showsAll;
    invalidate('inbox');
  }
  return {
    root: chips.root,
    moreButton,
    /**
     * @param {Topics} topics
     * @param {string} currentName
     */
    set(topics, currentName) {
      const names = listedNames(topics, orderHeldMs() > 0);
      chips.set(
        names.map(name => ({
          label: mailboxLabel(name),
          href: routeTo('inbox', name),
          isCurrent: name === currentName,
          count: unreadIn(name)
        }))
      );
      const hiddenCount = agentMailboxes().length - MAX_MAILBOX_CHIPS;
      const more = `Show ${pluralize(hiddenCount, 'more mailbox', 'more mailboxes')}`;
      setTextOrHide(moreButton, hiddenCount > 0 ? (showsAll ? 'Show fewer mailboxes' : more) : '');
    }
  };
}

/** @returns {View} */
export default function InboxView() {
  // The route: a mailbox, the id of a message or NEW, a filter.
  let mailboxName = HUMAN;
  let id = '';
  let filter = 'all';
  /** The mailbox that is listed: `mailboxName`, or '>name' for what that name has sent. */
  let source = HUMAN;
  let query = '';
  /** The list that was shown last: another one is shown at once. */
  let shownList = '';
  const details = MailDetails();

  const listedMail = throttledList('inbox', () =>
    mailIn(source).filter(mail => filter !== 'unread' || isPending(mail))
  );
  const mailboxChips = MailboxChips();
  const filterChips = Chips('Filter');
  const summary = element('p.facts');
  const hint = element('p.hint');
  const markAllButton = button('', () => void markAll(), 'button.link-button');
  const wakeNote = WakeNote({ showsName: true });
  const list = TwoLineList({
    label: 'Messages, newest first',
    keyOf: (/** @type {Mail} */ mail) => mail.id,
    describe: describeMail,
    onNearEnd: () => loadOlderMail(source)
  });
  const empty = EmptyState('No messages yet', 'Messages wait here until read.', 'send', 'ask');
  const BackLink = () => element('a.back', { href: '#/inbox' }, '← Inbox');
  const mailView = MailView(BackLink);
  const newMailForm = NewMailForm(BackLink);
  const root = SplitView(
    'inbox',
    [
      element(
        'header.view-header',
        element('h1', 'Inbox'),
        summary,
        element('a.primary', { href: routeToNewMail() }, 'New message')
      ),
      mailboxChips.root,
      element('div.toolbar', filterChips.root, mailboxChips.moreButton, markAllButton),
      wakeNote.root,
      empty.root,
      list.root
    ],
    [hint, mailView.root, newMailForm.root]
  );

  /**
   * @param {Mail} mail
   * @returns {ItemContent & { isNew: boolean }}
   */
  function describeMail(mail) {
    const author = authorOf(mail);
    const isNew = isPending(mail);
    return {
      href: routeTo('inbox', mailboxName, mail.id) + query,
      author,
      title: oneLine(mail.title || mail.payload, 100) || '(no text)',
      tag: mailTag(mail),
      snippet: author.label + ' → ' + displayName(mail.to_inbox) + (isNew ? ' · unread' : ''),
      time: mail.created_at,
      isNew
    };
  }

  /** Returns the open message from any mailbox that has it, or as the hub returned it. */
  function openMail() {
    if (!id || id === NEW) return undefined;
    const rows = [source, mailboxName, HUMAN, '*'].map(name => state.mailboxes.get(name)?.rows?.get(id));
    return rows.find(Boolean) || details.of(id)?.row;
  }

  async function markAll() {
    markAllButton.disabled = true;
    try {
      await markAllRead(source);
    } catch (error) {
      showNotice('Couldn’t mark the messages as read: ' + /** @type {Error} */ (error).message);
    }
    markAllButton.disabled = false;
    invalidate('all');
  }

  /** @param {Mail} mail */
  function toggleRead(mail) {
    setMailStatus(mail, toggledStatus(mail)).catch(error => showNotice('Couldn’t mark the message: ' + error.message));
  }

  /**
   * @param {Mail | undefined} mail the open message
   * @param {Mailbox} mailbox
   * @param {number} mailCount
   */
  function hintText(mail, mailbox, mailCount) {
    if (id === NEW || mail) return '';
    if (id) return details.of(id)?.isMissing ? 'Message not found.' : 'Loading…';
    if (mailCount) return 'Select a message to read it.';
    if (!mailbox.filled) return 'Loading…';
    if (!empty.root.hidden) return '';
    return filter === 'unread' ? 'No unread messages.' : 'No messages.';
  }

  function renderFilter() {
    const hrefOf = (/** @type {string} */ name) =>
      routeTo('inbox', mailboxName) + queryString({ show: name === 'all' ? '' : name });
    filterChips.set(
      FILTERS.map(name => ({ label: capitalize(name), href: hrefOf(name), isCurrent: name === filter }))
    );
  }

  /**
   * @param {Topics} topics
   * @param {Mailbox} mailbox
   */
  function renderList(topics, mailbox) {
    const wantedList = source + filter;
    const mails = listedMail(topics, list.isInUse() && shownList === wantedList);
    shownList = wantedList;
    list.render(mails, id || null);
    renderMarkAll(mailbox);
    empty.show(state.loaded && !mails.length && mailboxName === HUMAN && filter === 'all');
    const count = mailCountText(mailbox, mails.length, { unreadOnly: filter === 'unread' });
    setText(summary, mailboxLabel(mailboxName) + (mails.length ? ' · ' + count : ''));
    return mails;
  }

  /** @param {Mailbox} mailbox */
  function renderMarkAll(mailbox) {
    const pending = filter === 'sent' ? 0 : mailIn(source).filter(isPending).length;
    const count = mailCountText(mailbox, pending, { unreadOnly: true });
    setTextOrHide(markAllButton, pending ? `Mark ${count} as read` : '');
  }

  return {
    root,
    title: 'Inbox',
    keys: {
      a() {
        const mail = list.focusedItem();
        if (mail) toggleRead(mail);
        else if (!mailView.root.hidden) mailView.replyForm.markButton.click();
      },
      r: () => mailView.root.hidden || mailView.replyForm.input.focus(),
      m() {
        location.hash = routeToNewMail();
      }
    },
    route([name = HUMAN, mailId = ''], params) {
      const show = params.get('show') || '';
      mailboxName = name;
      id = mailId;
      filter = FILTERS.includes(show) ? show : 'all';
      source = filter === 'sent' ? '>' + mailboxName : mailboxName;
      query = queryString({ show: filter === 'all' ? '' : filter });
      if (id === NEW) newMailForm.open(params.get('to'));
      newMailForm.clearError();
      setAttribute(root, 'data-detail', id || null);
    },
    render(topics) {
      if (topics.has('all')) loadMailbox(source);
      const mailbox = openMailbox(source);
      const mail = openMail();
      mailboxChips.set(topics, mailboxName);
      renderFilter();
      const mails = renderList(topics, mailbox);
      wakeNote.set(mailboxName, state.agents.get(mailboxName)?.status !== 'running');
      setHidden(mailView.root, !mail);
      setHidden(newMailForm.root, id !== NEW);
      setTextOrHide(hint, hintText(mail, mailbox, mails.length));
      if (id && id !== NEW && state.loaded) details.refresh(id, mail);
      if (mail) mailView.set(mail, details.of(id)?.row?.receipts || []);
    }
  };
}
