// The requests on Now: mail and questions that wait for the person. A card shows the same request until it is removed, so
// that a click cannot hit another request.

/** @import { RenderedSource, Request } from '../../types.d.ts' */

import { element, setHidden, setTextOrHide, setAttribute } from '../../dom.js';
import { mailTag } from '../../components/labels.js';
import { Item } from '../../components/lists.js';
import { RenderedText } from '../../components/rendered_text.js';
import { ReplyForm } from '../../components/reply_form.js';
import { authorOf } from '../../authors.js';
import { routeToRow } from '../../routes.js';
import { oneLine } from '../../safe_text.js';

export const MAX_REQUESTS = 5;
/** A card that was just added or moved ignores clicks for this long. */
const IGNORE_CLICKS_MS = 500;
/** @type {Record<string, number>} */
const PRIORITY_ORDER = { urgent: 2, action: 1 };

/** @param {Request} mail */
const priority = mail => PRIORITY_ORDER[mail.priority || ''] || 0;

/**
 * @param {Request} mail
 * @returns {RenderedSource}
 */
const bodySource = ({ id, message_seq, payload = '' }) =>
  message_seq
    ? { kind: 'message', id, field: 'content', text: payload }
    : { kind: 'inbox', id, field: 'payload', text: payload };

function RequestCard() {
  const header = Item();
  const body = RenderedText('div.text');
  const outcome = element('p.text secondary', { hidden: true });
  const replyForm = ReplyForm();
  const root = element('article.request', header.root, body.root, outcome, replyForm.root);
  return {
    root,
    link: header.root,
    replyForm,
    /** The request is pending: it can be replied to. */
    isOpen: () => !replyForm.root.hidden,
    /** @param {Request} mail */
    set(mail) {
      const author = authorOf(mail);
      header.set({
        href: routeToRow(mail),
        author,
        title: author.label,
        tag: mailTag(mail),
        snippet: oneLine(mail.title || mail.payload),
        time: mail.created_at
      });
      const text = oneLine(mail.payload, 600);
      setHidden(body.root, !text || text === oneLine(mail.title, 600));
      body.set(bodySource(mail));
      replyForm.set(mail);
    },
    /** Shows that the request is no longer pending: without buttons. */
    close() {
      setHidden(replyForm.root, true);
      setTextOrHide(outcome, replyForm.outcome() || 'No longer pending.');
    }
  };
}

/**
 * A card and its place in the list.
 * @typedef {{ id: string, row: HTMLElement, card: ReturnType<typeof RequestCard>, timer: number }} Entry
 */

/**
 * @param {string} id
 * @returns {Entry}
 */
function newEntry(id) {
  const card = RequestCard();
  return { id, card, row: element('li', card.root), timer: 0 };
}

/** The list of request cards. */
export function RequestList() {
  const root = element('ul.requests');
  /** @type {Entry[]} In the order of the list. */
  let entries = [];

  /**
   * Shows the requests. While the pointer or the focus is in the list, cards keep their place and new ones are added
   * below; otherwise they are sorted by priority and age.
   * @param {Request[]} requests
   */
  function set(requests) {
    const pending = new Map(requests.map(mail => [mail.id, mail]));
    const sorted = requests.sort((a, b) => priority(b) - priority(a) || a.created_at - b.created_at);
    const former = entries;
    entries = nextEntries(sorted.slice(0, MAX_REQUESTS), pending);
    for (const entry of former) if (!entries.includes(entry)) entry.row.remove();
    entries.forEach((entry, i) => {
      if (root.children[i] !== entry.row) root.insertBefore(entry.row, root.children[i] || null);
      const mail = pending.get(entry.id);
      if (mail) entry.card.set(mail);
      else close(entry);
      if (former[i] !== entry) ignoreClicks(entry);
    });
  }

  /**
   * Returns the cards to show, in order.
   * @param {Request[]} shown
   * @param {Map<string, Request>} pending
   */
  function nextEntries(shown, pending) {
    const known = new Map(entries.map(entry => [entry.id, entry]));
    const isHovered = root.matches(':hover');
    const isInUse = isHovered || root.contains(document.activeElement);
    if (!isInUse) return shown.map(mail => known.get(mail.id) || newEntry(mail.id));
    const kept = entries.filter(
      ({ id, row }) => pending.has(id) || isHovered || row.contains(document.activeElement)
    );
    const room = Math.max(0, 2 * MAX_REQUESTS - entries.length);
    const added = shown.filter(mail => !known.has(mail.id)).slice(0, room);
    return [...kept, ...added.map(mail => newEntry(mail.id))];
  }

  /**
   * Closes a card. Its focus moves to the next request.
   * @param {Entry} entry
   */
  function close({ card }) {
    const hadFocus = card.root.contains(document.activeElement);
    card.close();
    if (hadFocus) (firstOpen()?.link || card.link).focus();
  }

  /** @param {Entry} entry */
  function ignoreClicks(entry) {
    setAttribute(entry.row, 'data-new', true);
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => setAttribute(entry.row, 'data-new', null), IGNORE_CLICKS_MS);
  }

  const openCards = () => entries.map(entry => entry.card).filter(card => card.isOpen());
  const firstOpen = () => openCards()[0];

  return {
    root,
    set,
    isEmpty: () => !entries.length,
    /** Returns the reply form that keys act on: that of the request with the focus, or of the first. */
    currentForm() {
      const focused = openCards().find(card => card.root.contains(document.activeElement));
      return (focused || firstOpen())?.replyForm;
    }
  };
}
