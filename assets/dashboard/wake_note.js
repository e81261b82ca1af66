// Says whether mail wakes an agent, and wakes it on request. Shown with the agent on Now, with its tasks, and with its
// mailbox. The hub decides; the page shows its reason.

import { element, setText, setAttribute, setHidden, setTextOrHide } from './dom.js';
import { state, invalidate } from './store.js';
import { wakeAgent } from './sync.js';
import { button } from './components.js';
import { agentName } from './authors.js';
import { oneLine, safeText } from './safe_text.js';

const MODE_TEXTS = { all: 'wakes for all mail', important: 'wakes for important mail' };
/** The obstacles of an agent that is woken as soon as there is a reason to. */
const READY = ['', 'no_mail', 'not_important', 'working'];
/** The obstacles that exist only while mail waits. */
const WITH_MAIL = ['not_important', 'too_soon', 'hour_limit', 'chain_limit', 'unattended'];
const REFUSAL_SHOWN_MS = 20000;

/** Agents → { text, at }: why the hub last refused to wake them. */
const refusals = new Map();
/** The agents that the hub is being asked to wake. */
const requested = new Set();

/** Returns in words whether mail wakes an agent. */
function wakeText({ mode, can_be_woken, woken_in_last_hour, obstacle, reason }) {
  if (obstacle === 'begun') return 'being woken';
  if (obstacle === 'off') return state.wake.default === 'off' ? 'waking is off' : 'waking is off for this agent';
  if (!can_be_woken) return 'cannot be woken: ' + oneLine(reason, 200);
  if (!READY.includes(obstacle)) return 'not woken now: ' + oneLine(reason, 200);
  const count = woken_in_last_hour && `${woken_in_last_hour} of ${state.wake.limits.an_hour} this hour`;
  return [MODE_TEXTS[mode] || safeText(mode, 40), count].filter(Boolean).join(' · ');
}

/** Returns whether the person can wake an agent: it is idle, and mail waits for it. */
function isWakeable(agent) {
  const isBusy = agent.obstacle === 'working' || agent.obstacle === 'begun';
  const hasMail = state.mailboxes.get(agent.agent)?.unread > 0 || WITH_MAIL.includes(agent.obstacle);
  return agent.can_be_woken && !isBusy && hasMail;
}

function currentRefusal(id) {
  const refusal = refusals.get(id);
  return refusal && Date.now() - refusal.at < REFUSAL_SHOWN_MS ? refusal.text : '';
}

async function wake(id) {
  if (requested.has(id)) return;
  requested.add(id);
  refusals.delete(id);
  invalidate('agents');
  try {
    await wakeAgent(id);
  } catch (error) {
    refusals.set(id, { text: safeText(error.message, 300), at: Date.now() });
  }
  requested.delete(id);
  invalidate('all');
}

/** Returns { root, set(agentId, isIdle) }. It is empty for an agent without an open session. */
export function WakeNote({ showsName = false } = {}) {
  let id;
  // It gets the focus of the button, which is hidden while the agent is woken.
  const text = element('span.wake-text', { tabindex: -1 });
  const wakeButton = button('Wake', () => wake(id));
  const alert = element('p.form-error', { role: 'alert' });
  const root = element('div.wake', text, wakeButton, alert);

  function set(agentId, isIdle) {
    id = agentId;
    const agent = state.wake?.agents.get(id);
    setHidden(root, !agent);
    if (!agent) return;
    const name = agentName(id);
    const words = wakeText(agent);
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

/** Returns the sentences about which mail wakes agents, and how often: [setting, limits]. */
export function wakeSentences({ default: mode, limits }) {
  const settings = {
    off: 'Waking is off: mail waits for the next turn of its reader.',
    important: 'Mail with priority action or urgent, and answers to their questions, wake idle agents.',
    all: 'Each mail wakes idle agents.'
  };
  return [
    settings[mode] || safeText(mode, 40),
    `A session is woken at most ${limits.an_hour} times an hour and ${limits.in_a_chain} times in a chain of replies, ` +
      `with ${limits.pause_ms / 1000} seconds between, and never while it works. Each wake is a turn of the model.`
  ];
}
