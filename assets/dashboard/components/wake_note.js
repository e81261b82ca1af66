// Says whether mail wakes an agent, and wakes it on request. Shown with the agent on Now, with its tasks, and with its
// mailbox. The hub decides; the page shows its reason.

/** @import { WakeableAgent, WakeRules } from '../types.d.ts' */

import { element, setText, setAttribute, setHidden, setTextOrHide } from '../dom.js';
import { state } from '../store.js';
import { invalidate } from '../store/schedule.js';
import { wakeAgent } from '../sync/requests.js';
import { button, ErrorText } from './forms.js';
import { agentName } from '../authors.js';
import { oneLine, safeText } from '../safe_text.js';

/** @type {Map<string, string>} */
const MODE_TEXTS = new Map([
  ['all', 'wakes for all mail'],
  ['important', 'wakes for important mail']
]);
/** The obstacles of an agent that is woken as soon as there is a reason to. */
const READY = new Set(['', 'no_mail', 'not_important', 'working']);
/** The obstacles that exist only while mail waits. */
const WITH_MAIL = new Set(['not_important', 'too_soon', 'hour_limit', 'chain_limit', 'unattended']);
/** The obstacles of an agent that is not idle. */
const BUSY = new Set(['working', 'begun']);
const REFUSAL_SHOWN_MS = 20000;

/** @type {Map<string, { text: string, at: number }>} Agent → why the hub last refused to wake it. */
const refusals = new Map();
/** @type {Set<string>} The agents that the hub is being asked to wake. */
const requested = new Set();

/**
 * Returns in words whether mail wakes an agent.
 * @param {WakeableAgent} agent
 * @param {WakeRules} rules
 */
function wakeText({ mode, can_be_woken, woken_in_last_hour, obstacle, reason }, rules) {
  if (obstacle === 'begun') return 'being woken';
  if (obstacle === 'off') return rules.default === 'off' ? 'waking is off' : 'waking is off for this agent';
  if (!can_be_woken) return 'cannot be woken: ' + oneLine(reason, 200);
  if (!READY.has(obstacle)) return 'not woken now: ' + oneLine(reason, 200);
  const count = woken_in_last_hour && `${woken_in_last_hour} of ${rules.limits.an_hour} this hour`;
  return [MODE_TEXTS.get(mode) || safeText(mode, 40), count].filter(Boolean).join(' · ');
}

/**
 * Returns whether the person can wake an agent: it is idle, and mail waits for it.
 * @param {WakeableAgent} agent
 */
function isWakeable(agent) {
  const hasMail = (state.mailboxes.get(agent.agent)?.unread || 0) > 0 || WITH_MAIL.has(agent.obstacle);
  return agent.can_be_woken && !BUSY.has(agent.obstacle) && hasMail;
}

/** @param {string} id */
function currentRefusal(id) {
  const refusal = refusals.get(id);
  return refusal && Date.now() - refusal.at < REFUSAL_SHOWN_MS ? refusal.text : '';
}

/** @param {string} id */
async function wake(id) {
  if (requested.has(id)) return;
  requested.add(id);
  refusals.delete(id);
  invalidate('agents');
  try {
    await wakeAgent(id);
  } catch (error) {
    refusals.set(id, { text: safeText(/** @type {Error} */ (error).message, 300), at: Date.now() });
  }
  requested.delete(id);
  invalidate('all');
}

/** The note of one agent. It is hidden for an agent without an open session. */
export function WakeNote({ showsName = false } = {}) {
  let id = '';
  // It gets the focus of the button, which is hidden while the agent is woken.
  const text = element('span.wake-text', { tabindex: -1 });
  const wakeButton = button('Wake', () => void wake(id));
  const alert = ErrorText();
  const root = element('div.wake', text, wakeButton, alert);

  /**
   * @param {string} agentId
   * @param {boolean} isIdle
   */
  function set(agentId, isIdle) {
    id = agentId;
    const rules = state.wake;
    const agent = rules?.agents.get(id);
    setHidden(root, !agent);
    if (!rules || !agent) return;
    const name = agentName(id);
    const words = wakeText(agent, rules);
    setText(text, showsName ? `${name}: ${words}` : words);
    setAttribute(text, 'title', agent.reason ? safeText(agent.reason, 300) : null);
    setAttribute(wakeButton, 'aria-label', 'Wake ' + name);
    setAttribute(wakeButton, 'aria-disabled', requested.has(id) && 'true');
    const isOffered = isIdle && isWakeable(agent);
    if (!isOffered && document.activeElement === wakeButton) text.focus();
    setHidden(wakeButton, !isOffered);
    setTextOrHide(alert, currentRefusal(id));
  }
  return { root, set };
}

/** @type {Map<string, string>} */
const RULE_TEXTS = new Map([
  ['off', 'Waking is off: mail waits for the next turn of its reader.'],
  ['important', 'Mail with priority action or urgent, and answers to their questions, wake idle agents.'],
  ['all', 'Each mail wakes idle agents.']
]);

/**
 * Returns which mail wakes agents, as a sentence.
 * @param {WakeRules} rules
 */
export const wakeRuleText = ({ default: mode }) => RULE_TEXTS.get(mode) || safeText(mode, 40);

/**
 * Returns how often mail wakes agents, as sentences.
 * @param {WakeRules} rules
 */
export const wakeLimitsText = ({ limits }) =>
  `A session is woken at most ${limits.an_hour} times an hour and ${limits.in_a_chain} times in a chain of replies, ` +
  `with ${limits.pause_ms / 1000} seconds between, and never while it works. Each wake is a turn of the model.`;
