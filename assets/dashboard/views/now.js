// Now: what needs the person, which agents work and which are idle, the tasks finished today, and a feed of all events.
// Rendered four times a second at most. Nothing moves while the pointer is on the board.

/** @import { AgentStatus, AgentSummary, Attention, Task, Topics, View } from '../types.d.ts' */

import { element, setText, setHidden, setTextOrHide } from '../dom.js';
import { state } from '../store.js';
import { summarizeAgents } from '../store/agents.js';
import { needsAttention } from '../store/attention.js';
import { invalidate, renderLater } from '../store/schedule.js';
import { taskCount } from '../store/tasks.js';
import { EmptyState } from '../components/commands.js';
import { button } from '../components/forms.js';
import { ItemOf, Repeated } from '../components/lists.js';
import { agentAuthor, agentName } from '../authors.js';
import { formatMoney, startOfDay } from '../format.js';
import { routeTo, routeToNewMail } from '../routes.js';
import { taskTitle } from '../steps.js';
import { AgentCard, AgentLine } from './now/agents.js';
import { Feed } from './now/feed.js';
import { MAX_REQUESTS, RequestList } from './now/requests.js';

const MAX_CARDS = 12;
const MAX_LINES = 24;
const MAX_EXPANDED_LINES = 500;
/** The board does not reorder for this long after the pointer moved on it. */
const IN_USE_MS = 2500;
const RENDER_INTERVAL_MS = 240;

/** Lines of agents, with a button that shows those above the limit. */
function AgentLines() {
  let isExpanded = false;
  const list = Repeated(element('ul.compact-list'), AgentLine);
  const moreButton = button('', expand, 'button.link-button');
  function expand() {
    isExpanded = true;
    invalidate('all');
  }
  return {
    list,
    nodes: [list.root, moreButton],
    /** @param {AgentSummary[]} agents */
    set(agents) {
      const max = isExpanded ? MAX_EXPANDED_LINES : MAX_LINES;
      list.set(agents.slice(0, max));
      setTextOrHide(moreButton, agents.length > max ? `Show ${agents.length - max} more` : '');
    }
  };
}

/** The tasks that were completed today. They are listed when the section is opened. */
function FinishedTasks() {
  const list = Repeated(
    element('ul.compact-list'),
    ItemOf((/** @type {Task} */ task) => ({
      href: routeTo('tasks', task.task_id),
      author: agentAuthor(task.agent_id || task.task_id),
      title: taskTitle(task),
      tag: 'completed',
      snippet: agentName(task.agent_id) + (task.cost ? ' · ' + formatMoney(task.cost) : ''),
      time: task.updated_at
    }))
  );
  const summary = element('summary');
  const root = element('details.finished', summary, list.root);
  root.ontoggle = () => invalidate('all');
  return {
    root,
    render() {
      const midnight = startOfDay();
      const isFinished = (/** @type {Task} */ task) => task.status === 'completed' && task.updated_at >= midnight;
      const count = taskCount('completed_since', isFinished);
      const finished = [...state.tasks.values()].filter(isFinished).sort((a, b) => b.updated_at - a.updated_at);
      list.set(root.open ? finished.slice(0, MAX_LINES) : []);
      setText(summary, `Finished today (${count})`);
      setHidden(root, !count);
    }
  };
}

/** What needs the person: requests, then agents that failed or wait. */
function AttentionSection() {
  const requests = RequestList();
  const cards = Repeated(element('ul.cards'), AgentCard);
  const moreLink = element('a.more', { href: '#/inbox/human?show=unread' });
  const root = element(
    'section.attention',
    { 'aria-label': 'Needs your attention' },
    element('h2', 'Needs your attention'),
    requests.root,
    cards.root,
    moreLink
  );
  return {
    root,
    requests,
    cards,
    /**
     * @param {Attention} attention
     * @param {AgentSummary[]} troubled
     */
    set(attention, troubled) {
      requests.set(attention.requests);
      cards.set(troubled.slice(0, MAX_CARDS));
      const hiddenCount = attention.requestCount - MAX_REQUESTS;
      setTextOrHide(moreLink, hiddenCount > 0 ? `${hiddenCount} more in your inbox` : '');
      setHidden(root, requests.isEmpty() && !troubled.length);
    }
  };
}

/** Returns a function that returns the agents by the group that they are shown in. */
function AgentGroups() {
  /** @type {Map<string, AgentStatus>} */
  let groups = new Map();
  return (/** @type {AgentSummary[]} */ agents, /** @type {boolean} */ isInUse) => {
    // While the board is in use, agents stay in their last group.
    const groupOf = (/** @type {AgentSummary} */ agent) => (isInUse && groups.get(agent.row.id)) || agent.status;
    groups = new Map(agents.map(agent => [agent.row.id, groupOf(agent)]));
    return (/** @type {AgentStatus} */ group) => agents.filter(agent => groups.get(agent.row.id) === group);
  };
}

/** @returns {View} */
export default function NowView() {
  const facts = element('p.facts');
  const attention = AttentionSection();
  const workingCards = Repeated(element('ul.cards'), AgentCard);
  const workingLines = AgentLines();
  const workingSection = element('section', element('h2', 'Working'), workingCards.root, ...workingLines.nodes);
  const idleLines = AgentLines();
  const idleSection = element('section', element('h2', 'Idle'), ...idleLines.nodes);
  const finished = FinishedTasks();
  const empty = EmptyState(
    'No agent activity yet',
    'Write one row and it appears here.',
    'demo',
    'run',
    'init',
    'sqlite3'
  );
  const board = element(
    'div.board',
    element('header.view-header', element('h1', 'Now'), facts),
    attention.root,
    workingSection,
    idleSection,
    finished.root,
    empty.root
  );
  const feed = Feed();
  const feedHint = element('p.hint', 'No activity yet.');
  const root = element(
    'div.now',
    board,
    element('section.feed', { 'aria-label': 'Activity' }, element('h2', 'Activity'), feedHint, feed.root)
  );

  const groupsOf = AgentGroups();
  let renderedAt = 0;
  let pointerMovedAt = -Infinity;
  board.onpointermove = () => {
    pointerMovedAt = performance.now();
  };

  function renderBoard() {
    const agents = summarizeAgents();
    const isInUse = performance.now() - pointerMovedAt < IN_USE_MS || board.contains(document.activeElement);
    const inGroup = groupsOf(agents, isInUse);
    const working = inGroup('working');
    const idle = inGroup('idle');
    attention.set(needsAttention(agents), [...inGroup('waiting'), ...inGroup('error')]);
    workingCards.set(working.slice(0, MAX_CARDS));
    workingLines.set(working.slice(MAX_CARDS));
    idleLines.set(idle);
    setHidden(workingSection, !working.length);
    setHidden(idleSection, !idle.length);
    finished.render();
    const cost = state.costToday != null ? ` · ${formatMoney(state.costToday)} today` : '';
    setText(facts, agents.length ? `${working.length} of ${agents.length} working` + cost : '');
    empty.show(state.loaded && !(agents.length || state.feed.length || state.threads.size));
  }

  /** Returns the agent whose card or line has the focus. */
  function focusedAgent() {
    const focused = document.activeElement;
    const agent =
      attention.cards.find(focused) ||
      workingCards.find(focused) ||
      workingLines.list.find(focused) ||
      idleLines.list.find(focused);
    return agent?.agentId();
  }

  return {
    root,
    title: '',
    keys: {
      a: () => attention.requests.currentForm()?.markButton.click(),
      r: () => attention.requests.currentForm()?.input.focus(),
      m() {
        location.hash = routeToNewMail(focusedAgent());
      }
    },
    /** @param {Topics} topics */
    render(topics) {
      if (performance.now() - renderedAt > RENDER_INTERVAL_MS || topics.has('all')) {
        renderedAt = performance.now();
        renderBoard();
      } else {
        renderLater();
      }
      setHidden(feedHint, !!state.feed.length);
      const isReading = feed.isInUse() && feed.root.scrollTop;
      feed.render(isReading ? feed.items : state.feed);
    }
  };
}
