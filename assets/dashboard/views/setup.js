// Setup: the hub's status, the rows it rejected and why, the agents seen, which mail wakes them, the browsers that have a
// key, and commands that write a test row from several languages. Each command gets a check mark when its row arrives.

/** @import { Agent, CommandText, Pair, Status, View } from '../types.d.ts' */

import { element, setText, setHidden, setTextOrHide } from '../dom.js';
import { state } from '../store.js';
import { refresh } from '../store/refresh.js';
import { Command, CommandList } from '../components/commands.js';
import { ErrorText } from '../components/forms.js';
import { Tag } from '../components/labels.js';
import { ItemOf, Lines, Pairs, Repeated } from '../components/lists.js';
import { SessionList } from '../components/session_list.js';
import { wakeLimitsText, wakeRuleText } from '../components/wake_note.js';
import { inboxOwner } from '../authors.js';
import { formatBytes, formatClock, formatCount, formatDayAndTime, formatDuration } from '../format.js';
import { routeTo } from '../routes.js';
import { safeText, oneLine, folderName } from '../safe_text.js';

const MAX_REJECTED = 20;
const MAX_AGENTS = 500;
/** Counting rows costs the hub time, so its status is not requested on every rendering. */
const STATUS_INTERVAL_MS = 5000;
const RENDER_INTERVAL_MS = 900;
const PAGE_OPENED_AT = Date.now();

/**
 * Formats a value of /api/status.
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function formatStatusValue(name, value) {
  if (value && typeof value === 'object') {
    const parts = Object.entries(value).map(
      ([key, part]) => `${key.replace(/_/g, ' ')} ${formatStatusValue(key, part)}`
    );
    return parts.join(' · ') || 'none';
  }
  if (value == null) return '–';
  if (name.endsWith('size') || name.startsWith('bytes')) return formatBytes(Number(value));
  if (name === 'uptime_ms') return formatClock(Number(value) / 1e3);
  if (name === 'since') return formatDayAndTime(Number(value));
  return safeText(value, 300);
}

/**
 * Returns the facts about the hub and the database.
 * @param {Status} status
 * @returns {Pair[]}
 */
function hubFacts({ trouble, rejected, db, watcher, limits, epoch, pos, ...rest }) {
  return Object.entries({ ...db, ...rest, ...watcher }).map(([name, value]) => ({
    label: name.replace(/_ms$/, '').replace(/_/g, ' '),
    value: formatStatusValue(name, value),
    tone: name === 'state' ? (value === 'ok' ? 'ok' : 'bad') : undefined
  }));
}

/** How long rows take to arrive. */
function LatencyFigures() {
  const figures = Pairs('dl.figures');
  return {
    root: figures.root,
    render() {
      const sorted = [...state.latencies].sort((a, b) => a - b);
      const percentile = (/** @type {number} */ fraction) => {
        if (!sorted.length) return '–';
        const index = Math.min(sorted.length - 1, Math.floor(fraction * sorted.length));
        const milliseconds = Math.max(0, sorted[index]);
        return milliseconds < 1e4 ? milliseconds + ' ms' : formatDuration(milliseconds / 1e3);
      };
      figures.set([
        { label: 'Median', value: percentile(0.5) },
        { label: 'p95', value: percentile(0.95) },
        { label: 'Events', value: formatCount(state.eventRates.at(-2)) + '/s' }
      ]);
    }
  };
}

/** The commands that write a test row, each with a tag that says whether its row has arrived. */
function TestCommands() {
  /** @type {{ from: string, tag: ReturnType<typeof Tag> }[]} The agent that a row comes from. */
  let checkMarks = [];
  const list = CommandList(command => {
    const tag = Tag();
    checkMarks.push({ from: command.from || '', tag });
    return Command(command, ' ', tag.root);
  });
  const isTest = (/** @type {CommandText} */ command) => command.from;
  /** @param {string} agentId */
  const hasArrived = agentId => (state.agents.get(agentId)?.last_active_at || 0) > PAGE_OPENED_AT;
  return {
    root: list.root,
    render() {
      list.set([...state.commands.values()].filter(isTest).map(command => command.name));
      checkMarks = checkMarks.filter(({ tag }) => list.root.contains(tag.root));
      for (const { from, tag } of checkMarks) tag.set(hasArrived(from) ? 'arrived' : '');
    }
  };
}

/** Which mail wakes agents, how often, and the command that changes it. */
function WakeSection() {
  const rule = element('p');
  const limits = element('p.facts');
  const commands = CommandList();
  return {
    root: element('section', element('h2', 'Waking idle agents'), rule, limits, commands.root),
    render() {
      setTextOrHide(rule, state.wake ? wakeRuleText(state.wake) : '');
      setTextOrHide(limits, state.wake ? wakeLimitsText(state.wake) : '');
      if (state.loaded) commands.set(['wake']);
    }
  };
}

/** All agents, the last active first. */
function AgentSection() {
  const count = element('span.facts');
  const list = Repeated(
    element('ul.compact-list', { tabindex: 0, 'aria-label': 'Agents' }),
    ItemOf((/** @type {Agent} */ agent) => ({
      href: routeTo('inbox', agent.id),
      author: inboxOwner(agent.id),
      title: inboxOwner(agent.id).label,
      snippet: folderName(agent.workspace),
      time: agent.last_active_at
    }))
  );
  return {
    root: element('section', element('h2', 'Agents', count), list.root),
    render() {
      const agents = [...state.agents.values()].sort((a, b) => b.last_active_at - a.last_active_at);
      setText(count, formatCount(agents.length));
      list.set(agents.slice(0, MAX_AGENTS));
    }
  };
}

/** @returns {View} */
export default function SetupView() {
  const trouble = ErrorText();
  const latency = LatencyFigures();
  const sessions = SessionList();
  const facts = Pairs('dl.facts-table');
  const rejectedLines = Lines('ul.reject-list');
  const rejectedSection = element('section', element('h2', 'Rejected rows'), rejectedLines.root);
  const agents = AgentSection();
  const waking = WakeSection();
  const connectCommands = CommandList();
  const testCommands = TestCommands();
  const root = element(
    'div.setup',
    element('header.view-header', element('h1', 'Setup')),
    trouble,
    element(
      'div.columns',
      element(
        'section',
        element('h2', 'Delivery latency'),
        latency.root,
        element('p.facts', 'From a row’s timestamp to this page, over the last 200 rows.')
      ),
      element('section', element('h2', 'Browsers with a key'), sessions.root),
      element('section', element('h2', 'Hub'), facts.root),
      rejectedSection,
      agents.root,
      waking.root,
      element('section', element('h2', 'Connect agents'), connectCommands.root),
      element(
        'section',
        element('h2', 'Write a test row'),
        element('p.facts', 'A check mark appears when the row arrives.'),
        testCommands.root
      )
    )
  );
  let requestedAt = 0;
  let renderedAt = 0;

  /** @param {Status} status */
  function renderStatus(status) {
    const problem = status.trouble;
    setTextOrHide(
      trouble,
      problem ? `Hub problem (${safeText(status.state, 40)}): ${safeText(problem.message, 400)}` : ''
    );
    facts.set(hubFacts(status));
    setHidden(rejectedSection, !status.rejected.length);
    rejectedLines.set(
      status.rejected
        .slice(-MAX_REJECTED)
        .map(row => `${row.table}, row ${row.row}: ${row.reason} (${formatDayAndTime(row.at)})`)
        .map(line => oneLine(line, 400))
    );
  }

  return {
    root,
    title: 'Setup',
    render() {
      const now = Date.now();
      if (now - requestedAt > STATUS_INTERVAL_MS) {
        requestedAt = now;
        refresh.status();
        refresh.wake();
        void sessions.load();
      }
      if (now - renderedAt < RENDER_INTERVAL_MS) return;
      renderedAt = now;
      if (state.loaded) {
        connectCommands.set(['init', 'doctor']);
        testCommands.render();
      }
      latency.render();
      agents.render();
      waking.render();
      if (state.status) renderStatus(state.status);
    }
  };
}
