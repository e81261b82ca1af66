// What needs the person, on Now: cards of what waits for a reply or a permission, cards of agents that failed, and one line
// for other unread mail.

/** @import { AgentSummary, Attention, Blocked, Card } from '../../types.d.ts' */

import { element, setHidden, setTextOrHide } from '../../dom.js';
import { CardList } from '../../components/card_list.js';
import { formatCount } from '../../format.js';
import { AgentCard } from './agents.js';
import { RequestCard } from './requests.js';

const MAX_BLOCKED = 24;
const MAX_FAILED = 12;

/** @typedef {ReturnType<typeof RequestCard>} RequestCardParts */
/** @typedef {Card<Blocked> & { request?: RequestCardParts }} BlockedCard */

/**
 * The card of a request or of an agent.
 * @param {Blocked} item
 * @returns {BlockedCard}
 */
function BlockedCard(item) {
  if (!item.request) {
    const card = AgentCard();
    return { ...card, set: blocked => blocked.request || card.set(blocked.agent) };
  }
  const request = RequestCard();
  return {
    root: request.root,
    request,
    focus: request.focus,
    close: request.close,
    set: blocked => blocked.request && request.set(blocked.request, blocked.sender)
  };
}

/**
 * Returns the line for unread mail that has no card.
 * @param {Attention} attention
 */
function mailLine({ otherMail, otherMailCount, blocked }) {
  const ofPriority = (/** @type {string} */ priority) => {
    const count = otherMail.filter(mail => mail.priority === priority).length;
    return count ? `${count} ${priority}` : '';
  };
  const hidden = blocked.length - MAX_BLOCKED;
  return [
    hidden > 0 ? `${hidden} more wait for you` : '',
    otherMailCount > 0 ? `${formatCount(otherMailCount)} unread` : '',
    ofPriority('urgent'),
    ofPriority('action')
  ]
    .filter(Boolean)
    .join(' · ');
}

export function AttentionSection() {
  /** @type {ReturnType<typeof CardList<Blocked, BlockedCard>>} */
  const blockedCards = CardList(element('ul.requests'), { keyOf: item => item.key, create: BlockedCard });
  const failedCards = CardList(element('ul.cards'), {
    keyOf: (/** @type {AgentSummary} */ agent) => agent.row.id,
    create: AgentCard
  });
  const moreLink = element('a.more', { href: '#/inbox/human?show=unread' });
  const root = element(
    'section.attention',
    { 'aria-label': 'Needs you' },
    element('h2', 'Needs you'),
    blockedCards.root,
    failedCards.root,
    moreLink
  );
  const openRequests = () => blockedCards.cards().flatMap(({ request }) => (request?.isOpen() ? request : []));
  return {
    root,
    lists: [blockedCards, failedCards],
    /**
     * @param {Attention} attention
     * @param {{ isOrderHeld: boolean }} order
     */
    set(attention, order) {
      blockedCards.set(attention.blocked.slice(0, MAX_BLOCKED), order);
      failedCards.set(attention.failed.slice(0, MAX_FAILED), order);
      setTextOrHide(moreLink, mailLine(attention));
      setHidden(root, !blockedCards.cards().length && !failedCards.cards().length && !moreLink.textContent);
    },
    /** Returns the reply form that keys act on: that of the request with the focus, or of the first. */
    currentForm() {
      const open = openRequests();
      return (open.find(card => card.root.contains(document.activeElement)) || open[0])?.replyForm;
    },
    /** Returns the card of an agent. */
    cardOf: (/** @type {string} */ id) => blockedCards.get('agent ' + id) || failedCards.get(id),
    /** Returns the agent whose card has the focus. */
    focusedAgent() {
      const blocked = blockedCards.keyAt(document.activeElement);
      return blocked?.startsWith('agent ') ? blocked.slice('agent '.length) : failedCards.keyAt(document.activeElement);
    }
  };
}
