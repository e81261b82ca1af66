// The mail to and from one agent, newest first.

/** @import { Mail } from '../../types.d.ts' */

import { element, setAttribute, setHidden, setTextOrHide } from '../../dom.js';
import { state } from '../../store.js';
import { isPending, mailIn } from '../../store/mail.js';
import { invalidate } from '../../store/schedule.js';
import { loadMailbox, loadOlderMail } from '../../sync/mail.js';
import { button } from '../../components/forms.js';
import { mailTag } from '../../components/labels.js';
import { Item, Repeated } from '../../components/lists.js';
import { authorOf, displayName, HUMAN, isByPerson } from '../../authors.js';
import { routeToRow } from '../../routes.js';
import { oneLine } from '../../safe_text.js';

const FIRST_SHOWN = 10;
const MORE_SHOWN = 20;

/** @param {string} id */
const mailboxesOf = id => [id, '>' + id];

/** @param {Mail} mail */
const isWithPerson = mail => isByPerson(mail) || mail.to_inbox === HUMAN;

/**
 * Returns the loaded mail to and from an agent, newest first. One of the two mailboxes may be loaded further back than the
 * other: what is older than the end of one is left out.
 * @param {string} id
 */
function mailOf(id) {
  const mailboxes = mailboxesOf(id).map(name => ({ mail: mailIn(name), next: state.mailboxes.get(name)?.next }));
  const ends = mailboxes.map(({ mail, next }) => (next ? mail.at(-1)?.created_at || 0 : 0));
  const end = Math.max(...ends);
  const byId = new Map(mailboxes.flatMap(({ mail }) => mail.map(row => /** @type {const} */ ([row.id, row]))));
  return [...byId.values()].filter(mail => mail.created_at >= end).sort((a, b) => b.created_at - a.created_at);
}

function MailRow() {
  const item = Item('a.two-line');
  return {
    root: item.root,
    /** @param {Mail} mail */
    set(mail) {
      const author = authorOf(mail);
      const isNew = isPending(mail);
      item.set({
        href: routeToRow(mail),
        author,
        title: oneLine(mail.title || mail.payload, 100) || '(no text)',
        tag: mailTag(mail),
        snippet: `${author.label} → ${displayName(mail.to_inbox)}${isNew ? ' · unread' : ''}`,
        time: mail.created_at
      });
      setAttribute(item.root, 'data-new', isNew);
    }
  };
}

export function MailHistory() {
  let id = '';
  let isOnlyWithPerson = false;
  let shownCount = FIRST_SHOWN;
  const list = Repeated(element('ul.mail-history'), MailRow);
  const hint = element('p.facts');
  const allButton = button('All mail', () => filter(false));
  const withPersonButton = button('With you', () => filter(true));
  const moreButton = button('Show older', showMore, 'button.link-button');
  const root = element(
    'div',
    element('p.toolbar', allButton, withPersonButton),
    list.root,
    hint,
    moreButton
  );

  /** @param {boolean} isOnly */
  function filter(isOnly) {
    isOnlyWithPerson = isOnly;
    shownCount = FIRST_SHOWN;
    invalidate('all');
  }

  function showMore() {
    shownCount += MORE_SHOWN;
    mailboxesOf(id).forEach(loadOlderMail);
    invalidate('all');
  }

  return {
    root,
    /** @param {string} newId */
    set(newId) {
      if (id !== newId) shownCount = FIRST_SHOWN;
      id = newId;
      const names = mailboxesOf(id);
      names.forEach(loadMailbox);
      const mail = mailOf(id).filter(row => !isOnlyWithPerson || isWithPerson(row));
      const isLoading = names.some(name => !state.mailboxes.get(name)?.filled);
      const hasOlder = names.some(name => state.mailboxes.get(name)?.next);
      list.set(mail.slice(0, shownCount));
      setHidden(list.root, !mail.length);
      const none = isOnlyWithPerson ? 'No mail between you and this agent.' : 'No mail to or from this agent.';
      setTextOrHide(hint, mail.length ? '' : isLoading ? 'Loading…' : none);
      setHidden(moreButton, mail.length <= shownCount && !hasOlder);
      setAttribute(allButton, 'aria-pressed', String(!isOnlyWithPerson));
      setAttribute(withPersonButton, 'aria-pressed', String(isOnlyWithPerson));
    }
  };
}
