// Now: what needs the person, which agents work and which are idle, the tasks finished today, and a feed of all events.
// Rendered four times a second at most. Cards keep their order for a moment after each movement of the pointer and each key,
// and those that have moved ignore clicks (components/card_list.js).

/** @import { AgentStatus, AgentSummary, Task, Topics, View } from '../types.d.ts' */

import { element, setText, setHidden, setTextOrHide } from '../dom.js';
import { state } from '../store.js';
import { isTroubled, summarizeAgents } from '../store/agents.js';
import { needsAttention } from '../store/attention.js';
import { invalidate, renderLater } from '../store/schedule.js';
import { taskCount } from '../store/tasks.js';
import { EmptyState } from '../components/commands.js';
import { CardList } from '../components/card_list.js';
import { button } from '../components/forms.js';
import { ItemOf, Repeated } from '../components/lists.js';
import { openMessageDialog } from '../components/message_form.js';
import { OrderHold } from '../components/order_hold.js';
import { agentAuthor, agentName } from '../authors.js';
import { formatMoney, startOfDay } from '../format.js';
import { queryString, routeTo } from '../routes.js';
import { taskTitle } from '../steps.js';
import { AgentCard, AgentLine } from './now/agents.js';
import { AttentionSection } from './now/attention.js';
import { Feed } from './now/feed.js';
import { FirstRow } from './now/first_row.js';

const MAX_CARDS = 12;
const MAX_LINES = 24;
const MAX_EXPANDED_LINES = 500;
const RENDER_INTERVAL_MS = 240;

/** @param {AgentSummary} agent */
const agentId = agent => agent.row.id;

/** Lines of agents, with a button that shows those above the limit. */
function AgentLines() {
  let isExpanded = false;
  const list = CardList(element('ul.compact-list'), { keyOf: agentId, create: AgentLine });
  const moreButton = button('', expand, 'button.link-button');
  function expand() {
    isExpanded = true;
    invalidate('all');
  }
  return {
    list,
    nodes: [list.root, moreButton],
    /**
     * @param {AgentSummary[]} agents
     * @param {{ isOrderHeld: boolean }} order
     */
    set(agents, order) {
      const max = isExpanded ? MAX_EXPANDED_LINES : MAX_LINES;
      list.set(agents.slice(0, max), order);
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
  const allLink = element('a.more', { href: '#/tasks' + queryString({ q: 'status:completed' }) });
  const root = element('details.finished', summary, list.root, allLink);
  root.ontoggle = () => invalidate('all');
  return {
    root,
    render() {
      const midnight = startOfDay();
      const isFinished = (/** @type {Task} */ task) => task.status === 'completed' && task.updated_at >= midnight;
      const count = taskCount('completed_since', isFinished);
      const finished = [...state.tasks.values()].filter(isFinished).sort((a, b) => b.updated_at - a.updated_at);
      list.set(root.open ? finished.slice(0, MAX_LINES) : []);
      setTextOrHide(allLink, count > MAX_LINES ? `Show all ${count} completed today` : '');
      setText(summary, `Finished today (${count})`);
      setHidden(root, !count);
    }
  };
}

/** Returns a function that returns the agents that work or are idle, by the group that they are shown in. */
function AgentGroups() {
  /** @type {Map<string, AgentStatus>} */
  let groups = new Map();
  return (/** @type {AgentSummary[]} */ agents, /** @type {boolean} */ isOrderHeld) => {
    // Only changes between working and idle may wait.
    const groupOf = (/** @type {AgentSummary} */ agent) => {
      const held = isOrderHeld && !isTroubled(agent) && groups.get(agent.row.id);
      return held === 'working' || held === 'idle' ? held : agent.status;
    };
    groups = new Map(agents.map(agent => [agent.row.id, groupOf(agent)]));
    return (/** @type {AgentStatus} */ group) => agents.filter(agent => groups.get(agent.row.id) === group);
  };
}

/** @returns {View} */
export default function NowView() {
  const facts = element('p.facts');
  const attention = AttentionSection();
  const workingCards = CardList(element('ul.cards'), { keyOf: agentId, create: AgentCard });
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
  const firstRow = FirstRow();
  const board = element(
    'div.board',
    element('header.view-header', element('h1', 'Now'), facts),
    firstRow.root,
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

  const agentLists = [workingCards, workingLines.list, idleLines.list];
  const groupsOf = AgentGroups();
  let renderedAt = 0;
  let orderTimer = 0;
  const orderHeldMs = OrderHold(board);

  /** Returns whether cards keep their order. If so, the board is rendered again when this ends. */
  function holdsOrder() {
    const remaining = orderHeldMs();
    if (!remaining) return false;
    orderTimer ||= setTimeout(() => {
      orderTimer = 0;
      invalidate('tick');
    }, remaining);
    return true;
  }

  function renderBoard() {
    const agents = summarizeAgents();
    const order = { isOrderHeld: holdsOrder() };
    const focusedId = focusedAgent();
    const inGroup = groupsOf(agents, order.isOrderHeld);
    const working = inGroup('working');
    const idle = inGroup('idle');
    attention.set(needsAttention(agents), order);
    workingCards.set(working.slice(0, MAX_CARDS), order);
    workingLines.set(working.slice(MAX_CARDS), order);
    idleLines.set(idle, order);
    setHidden(workingSection, !working.length);
    setHidden(idleSection, !idle.length);
    finished.render();
    const cost = state.costToday != null ? ` · ${formatMoney(state.costToday)} today` : '';
    setText(facts, agents.length ? `${working.length} of ${agents.length} working` + cost : '');
    const isEmpty = state.loaded && !(agents.length || state.feed.length || state.threads.size);
    empty.show(isEmpty);
    firstRow.set(isEmpty);
    // The focus stays with its agent, whose card may be in another list now.
    if (focusedId && focusedAgent() !== focusedId) cardOf(focusedId)?.focus();
    for (const list of [...attention.lists, ...agentLists]) list.checkPlaces();
  }

  /** @param {string} id */
  const cardOf = id => attention.cardOf(id) || agentLists.map(list => list.get(id)).find(Boolean);

  /** Returns the agent whose card or line has the focus. */
  const focusedAgent = () =>
    attention.focusedAgent() || agentLists.map(list => list.keyAt(document.activeElement)).find(Boolean);

  return {
    root,
    title: '',
    keys: {
      a: () => attention.currentForm()?.markButton.click(),
      r: () => attention.currentForm()?.input.focus(),
      m: () => openMessageDialog(focusedAgent())
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
