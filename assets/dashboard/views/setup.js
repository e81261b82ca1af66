// Setup: the hub's status, the rows it rejected and why, the agents seen, which mail wakes them, the browsers that have
// a key, and commands that write a test row from several languages. Each command gets a check mark when its row arrives.

import { element, setText, setHidden, setTextOrHide } from '../dom.js';
import { state, eventRates, refresh } from '../store.js';
import { Command, showCommands, Tag, setTag, Item, setItem, updateChildren } from '../components.js';
import { SessionList } from '../session_list.js';
import { wakeSentences } from '../wake_note.js';
import { inboxOwner } from '../authors.js';
import { formatCount, formatBytes, formatDayAndTime, formatClock } from '../format.js';
import { routeTo } from '../routes.js';
import { safeText, oneLine, folderName } from '../safe_text.js';

const MAX_REJECTED = 20;
const MAX_AGENTS = 500;
/** Counting rows costs the hub time, so its status is not requested on every rendering. */
const STATUS_INTERVAL_MS = 5000;
const RENDER_INTERVAL_MS = 900;
const PAGE_OPENED_AT = Date.now();

/** Formats a value of /api/status. */
function formatStatusValue(name, value) {
  if (value && typeof value === 'object') {
    const parts = Object.entries(value).map(
      ([key, part]) => `${key.replace(/_/g, ' ')} ${formatStatusValue(key, part)}`
    );
    return parts.join(' · ') || 'none';
  }
  if (/size$/.test(name)) return formatBytes(value);
  if (name === 'uptime_ms') return formatClock(value / 1e3);
  return safeText(value, 300);
}

/** Fills a <dl> with { label, value, tone? }, if anything changed. */
function setPairs(list, pairs) {
  const content = JSON.stringify(pairs);
  if (list.content === content) return;
  list.content = content;
  list.replaceChildren(
    ...pairs.map(({ label, value, tone }) =>
      element('div', { 'data-tone': tone }, element('dt', label), element('dd', value))
    )
  );
}

export default function setup() {
  const trouble = element('p.form-error', { role: 'alert' });
  const latency = element('dl.figures');
  const hubFacts = element('dl.facts-table');
  const rejectedList = element('ul.reject-list');
  const rejectedSection = element('section', element('h2', 'Rejected rows'), rejectedList);
  const agentCount = element('span.facts');
  const agentList = element('ul.compact-list', { tabindex: 0, 'aria-label': 'Agents' });
  const sessions = SessionList();
  const wakeSetting = element('p');
  const wakeLimits = element('p.facts');
  const wakeCommands = element('div');
  const connectCommands = element('div');
  const testCommands = element('div');
  /** { from, tag }: the tag of each test command and the agent its row comes from. */
  let checkMarks = [];
  let requestedAt = 0;
  let drawnAt = 0;
  const root = element(
    'div.setup',
    element('header.view-header', element('h1', 'Setup')),
    trouble,
    element(
      'div.columns',
      element(
        'section',
        element('h2', 'Delivery latency'),
        latency,
        element('p.facts', 'From a row’s timestamp to this page, over the last 200 rows.')
      ),
      element('section', element('h2', 'Browsers with a key'), sessions.root),
      element('section', element('h2', 'Hub'), hubFacts),
      rejectedSection,
      element('section', element('h2', 'Agents', agentCount), agentList),
      element('section', element('h2', 'Waking idle agents'), wakeSetting, wakeLimits, wakeCommands),
      element('section', element('h2', 'Connect agents'), connectCommands),
      element(
        'section',
        element('h2', 'Write a test row'),
        element('p.facts', 'A check mark appears when the row arrives.'),
        testCommands
      )
    )
  );

  function TestCommand(command) {
    const tag = Tag();
    const root = Command(command);
    root.firstChild.append(' ', tag);
    checkMarks.push({ from: command.from, tag });
    return root;
  }

  function drawCommands() {
    if (!state.loaded || testCommands.commands === state.commands) return;
    checkMarks = [];
    showCommands(connectCommands, ['init', 'doctor'], Command);
    showCommands(wakeCommands, ['wake'], Command);
    const testNames = [...state.commands.values()].filter(command => command.from).map(command => command.name);
    showCommands(testCommands, testNames, TestCommand);
  }

  function drawWaking() {
    const [setting, limits] = state.wake ? wakeSentences(state.wake) : ['', ''];
    setTextOrHide(wakeSetting, setting);
    setTextOrHide(wakeLimits, limits);
  }

  function drawLatency() {
    const sorted = [...state.latencies].sort((a, b) => a - b);
    const percentile = fraction => {
      if (!sorted.length) return '–';
      const index = Math.min(sorted.length - 1, Math.floor(fraction * sorted.length));
      return Math.max(0, sorted[index]) + ' ms';
    };
    setPairs(latency, [
      { label: 'Median', value: percentile(0.5) },
      { label: 'p95', value: percentile(0.95) },
      { label: 'Events', value: formatCount(eventRates.at(-2)) + '/s' }
    ]);
  }

  function drawAgents() {
    const agents = [...state.agents.values()].sort((a, b) => b.last_active_at - a.last_active_at);
    setText(agentCount, formatCount(agents.length));
    updateChildren(agentList, agents.slice(0, MAX_AGENTS), Item, (item, agent) =>
      setItem(item, {
        href: routeTo('inbox', agent.id),
        author: inboxOwner(agent.id),
        title: inboxOwner(agent.id).label,
        tag: '',
        snippet: folderName(agent.workspace),
        time: agent.last_active_at
      })
    );
  }

  function drawStatus() {
    if (!state.status) return;
    const { trouble: problem, rejected, db, watcher, limits, epoch, pos, ...rest } = state.status;
    setTextOrHide(
      trouble,
      problem && `Hub problem (${safeText(state.status.state, 40)}): ${safeText(problem.message, 400)}`
    );
    setPairs(
      hubFacts,
      Object.entries({ ...db, ...rest, ...watcher }).map(([name, value]) => ({
        label: name.replace(/_ms$/, '').replace(/_/g, ' '),
        value: formatStatusValue(name, value),
        tone: name === 'state' && (value === 'ok' ? 'ok' : 'bad')
      }))
    );
    setHidden(rejectedSection, !rejected.length);
    const lines = rejected
      .slice(-MAX_REJECTED)
      .map(row => `${row.table}, row ${row.row}: ${row.reason} (${formatDayAndTime(row.at)})`);
    const content = lines.join('\n');
    if (rejectedList.content === content) return;
    rejectedList.content = content;
    rejectedList.replaceChildren(...lines.map(line => element('li', oneLine(line, 400))));
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
        sessions.load();
      }
      if (now - drawnAt < RENDER_INTERVAL_MS) return;
      drawnAt = now;
      drawCommands();
      drawLatency();
      for (const { from, tag } of checkMarks) {
        setTag(tag, state.agents.get(from)?.last_active_at > PAGE_OPENED_AT ? 'arrived' : '');
      }
      drawAgents();
      drawWaking();
      drawStatus();
    }
  };
}
