// The page of one agent.

/** @import { AgentSession, AgentSummary, CostGroup, Pair, Request, Task } from '../../types.d.ts' */
/** @import { AgentData, AgentFile } from './data.js' */

import { element, setAttribute, setHidden, setText, setTextOrHide } from '../../dom.js';
import { state } from '../../store.js';
import { dismissAgent, isTroubled } from '../../store/agents.js';
import { needsAttention } from '../../store/attention.js';
import { invalidate } from '../../store/schedule.js';
import { button } from '../../components/forms.js';
import { Age, Initials, Sparkline, Tag } from '../../components/labels.js';
import { ItemOf, Pairs, Repeated } from '../../components/lists.js';
import { branchText, Place } from '../../components/place.js';
import { WakeNote } from '../../components/wake_note.js';
import { agentAuthor, agentName } from '../../authors.js';
import { formatAge, formatClock, formatCount, formatDateTime, formatDayAndTime, formatMoney, pluralize } from '../../format.js';
import { queryString, routeTo, routeToRow } from '../../routes.js';
import { oneLine, safeText } from '../../safe_text.js';
import { taskTitle } from '../../steps.js';
import { CurrentStep } from '../now/agents.js';
import { AgentDataLoader } from './data.js';
import { MailHistory } from './mail_history.js';
import { MessageForm } from './message_form.js';

const MAX_TASKS = 6;
const MAX_SESSIONS = 5;
const MAX_FILES = 10;
const MAX_REQUESTS = 5;

/**
 * A part of the page with a heading, and a text that takes its place while it is empty.
 * @param {string} heading
 * @param {string} emptyText
 * @param {Node[]} nodes
 */
function Section(heading, emptyText, ...nodes) {
  const hint = element('p.facts');
  const title = element('h2', heading);
  return {
    root: element('section.panel', title, ...nodes, hint),
    /**
     * @param {boolean} isLoading
     * @param {boolean} isEmpty
     */
    set(isLoading, isEmpty) {
      setText(hint, isLoading ? 'Loading…' : emptyText);
      setHidden(hint, !isLoading && !isEmpty);
    }
  };
}

/**
 * A list that shows the first items, and all on request.
 * @template T
 * @param {number} max
 * @param {() => import('../../types.d.ts').Component<T>} create
 */
function ShortList(max, create) {
  let isExpanded = false;
  const list = Repeated(element('ul'), create);
  const moreButton = button('', toggle, 'button.link-button');
  function toggle() {
    isExpanded = !isExpanded;
    invalidate('all');
  }
  return {
    nodes: [list.root, moreButton],
    /** @param {T[]} items */
    set(items) {
      list.set(isExpanded ? items : items.slice(0, max));
      const hidden = items.length - max;
      setTextOrHide(moreButton, hidden > 0 ? (isExpanded ? 'Show fewer' : `Show ${hidden} more`) : '');
    },
    collapse() {
      isExpanded = false;
    }
  };
}

// ---- what it does now ----

/** A link to what an agent has asked the person. */
const RequestItem = ItemOf((/** @type {Request} */ request) => ({
  href: routeToRow(request),
  author: agentAuthor(request.from_agent),
  title: oneLine(request.title || request.payload, 120),
  tag: request.priority === 'info' ? request.message_type : request.priority,
  snippet: '',
  time: request.created_at
}));

/**
 * Returns what an agent does, as a sentence.
 * @param {AgentSummary} agent
 */
function stateText({ row, status, task, at }) {
  switch (status) {
    case 'working':
      return task ? 'Works on:' : 'Working.';
    case 'waiting':
      return 'Waits for permission or an answer:';
    case 'error':
      return task ? 'Failed:' : 'Reports an error.';
    default: {
      const since = row.status === 'gone' ? `Ended ${formatAge(at)} ago.` : `Idle since ${formatDayAndTime(at)}.`;
      return task ? `${at ? since : 'Idle.'} Last task:` : at ? since : 'Idle.';
    }
  }
}

function CurrentWork() {
  /** @type {AgentSummary} */
  let agent;
  const words = element('span');
  const taskLink = element('a');
  const clock = element('span.facts');
  const step = CurrentStep();
  const sparkline = Sparkline();
  const requests = Repeated(element('ul.agent-requests'), RequestItem);
  const wakeNote = WakeNote();
  const dismissButton = button('Dismiss', () => dismissAgent(agent), 'button.link-button');
  const root = element(
    'section.panel',
    element('h2', 'Now'),
    element('p.agent-work', words, taskLink, clock),
    step.root,
    sparkline.root,
    requests.root,
    wakeNote.root,
    dismissButton
  );
  return {
    root,
    /**
     * @param {AgentSummary} newAgent
     * @param {Request[]} pending what it has asked the person
     */
    set(newAgent, pending) {
      agent = newAgent;
      const { task, status, row } = agent;
      const isActive = status === 'working' || status === 'waiting';
      setText(words, stateText(agent));
      setTextOrHide(taskLink, task ? taskTitle(task) : '');
      setAttribute(taskLink, 'href', task ? routeTo('tasks', task.task_id) : null);
      setTextOrHide(clock, task && isActive ? 'for ' + formatClock((Date.now() - task.started_at) / 1e3) : '');
      step.set(agent);
      // Without a step it shows the task, which is shown above.
      if (!agent.lastEvent) setHidden(step.root, true);
      sparkline.set(state.activity.get(row.id) || []);
      requests.set(pending.slice(0, MAX_REQUESTS));
      wakeNote.set(row.id, status === 'idle' || status === 'error');
      setHidden(dismissButton, !isTroubled(agent));
    }
  };
}

// ---- what it has used ----

/** @type {[heading: string, (sums: CostGroup | null | undefined) => string][]} */
const USAGE_COLUMNS = [
  ['Cost', sums => (sums ? formatMoney(sums.cost) : '–')],
  ['Tokens in', sums => (sums ? formatCount(sums.tokens_in) : '–')],
  ['cached', sums => (sums ? formatCount(sums.tokens_cached) : '–')],
  ['out', sums => (sums ? formatCount(sums.tokens_out) : '–')]
];

function UsageTable() {
  const rows = ['Today', 'In total'].map(label => {
    const cells = USAGE_COLUMNS.map(() => element('td', '–'));
    return { cells, root: element('tr', element('th', { scope: 'row' }, label), ...cells) };
  });
  const headings = ['', ...USAGE_COLUMNS.map(([heading]) => heading)];
  const unpriced = element('p.facts');
  const table = element(
    'table',
    element('thead', element('tr', ...headings.map(heading => (heading ? element('th', { scope: 'col' }, heading) : element('td'))))),
    element('tbody', ...rows.map(({ root }) => root))
  );
  return {
    nodes: [table, unpriced],
    /** @param {AgentData} data */
    set({ today, total }) {
      [today, total].forEach((sums, i) =>
        USAGE_COLUMNS.forEach(([, format], column) => setText(rows[i].cells[column], format(sums)))
      );
      const tokens = total?.unpriced_tokens;
      setTextOrHide(unpriced, tokens ? `${pluralize(tokens, 'token')} without a known price.` : '');
      setHidden(table, !total);
    }
  };
}

// ---- its tasks, sessions and files ----

const TaskItem = ItemOf((/** @type {Task} */ task) => ({
  href: routeTo('tasks', task.task_id),
  author: agentAuthor(task.agent_id),
  title: taskTitle(task),
  tag: task.status,
  snippet: task.cost ? formatMoney(task.cost) : '',
  time: task.updated_at
}));

function SessionRow() {
  const link = element('a');
  const tag = Tag();
  const facts = element('span.facts');
  const age = Age();
  const root = element('div.agent-row', link, tag.root, facts, age.root);
  return {
    root,
    /** @param {AgentSession} session */
    set(session) {
      const { started_at, ended_at, last_event_at } = session;
      setText(link, safeText(session.tool, 40) || oneLine(session.id, 40));
      setAttribute(link, 'href', routeTo('tasks', session.task_id));
      link.title = safeText(session.id, 200);
      tag.set(ended_at ? 'ended' : 'open');
      const seconds = ((ended_at || Date.now()) - (started_at || last_event_at)) / 1e3;
      const mode = session.permission_mode && session.permission_mode !== 'unknown' ? oneLine(session.permission_mode, 30) : '';
      setText(facts, [started_at && formatClock(seconds), mode].filter(Boolean).join(' · '));
      age.set(last_event_at);
    }
  };
}

/** @param {() => string} workspace */
const FileRow = workspace => () => {
  const link = element('a.file');
  const count = element('span.facts');
  const age = Age();
  const root = element('div.agent-row', link, count, age.root);
  return {
    root,
    /** @param {AgentFile} file */
    set(file) {
      const start = workspace().replace(/\/*$/, '/');
      const isInside = start.length > 1 && file.path.startsWith(start);
      setText(link, oneLine(isInside ? file.path.slice(start.length) : file.path, 300));
      link.title = safeText(file.path, 500);
      setAttribute(link, 'href', routeTo('tasks', file.task_id));
      setText(count, pluralize(file.edits, 'edit'));
      age.set(file.last_at);
    }
  };
};

// ---- the page ----

/**
 * @param {AgentSummary} agent
 * @param {AgentData} data
 * @returns {Pair[]}
 */
function factsOf({ row, usage, task }, { details }) {
  const workspace = row.workspace || details?.workspace || task?.workspace || '';
  const repository = details?.repository;
  const created = details?.created_at;
  return [
    { label: 'Name', value: row.label ? safeText(row.id, 200) : '' },
    { label: 'Model', value: oneLine(usage?.model || task?.model, 60) },
    { label: 'Repository', value: oneLine(repository?.name, 100) },
    { label: 'Branch', value: branchText(repository) },
    { label: 'Worktree', value: oneLine(repository?.worktree, 100) },
    { label: 'Directory', value: safeText(workspace, 500) },
    { label: 'First seen', value: created ? formatDateTime(created) : '' }
  ].filter(({ value }) => value);
}

/** @param {AgentSummary} agent @param {AgentData} data */
function headerFacts({ usage, task }, { details }) {
  const session = details?.sessions[0];
  const since = session?.started_at;
  const isOpen = session && !session.ended_at;
  return [
    oneLine(usage?.model || task?.model, 40),
    safeText(session?.tool, 40),
    isOpen && since && `session since ${formatDayAndTime(since)} (${formatClock((Date.now() - since) / 1e3)})`
  ]
    .filter(Boolean)
    .join(' · ');
}

/**
 * Returns what the agent asks the person.
 * @param {string} id
 * @param {AgentSummary[]} agents
 */
const requestsOf = (id, agents) =>
  needsAttention(agents).blocked.flatMap(({ request }) => (request?.from_agent === id ? [request] : []));

export function AgentPage() {
  let id = '';
  let workspace = '';
  const loader = AgentDataLoader();
  const initials = Initials();
  const title = element('h1', { tabindex: -1 });
  const tag = Tag();
  const facts = element('p.facts');
  const place = Place();
  const work = CurrentWork();
  const messageForm = MessageForm();
  const history = MailHistory();
  const usage = UsageTable();
  const usageSection = Section('Tokens and cost', 'No usage reported.', ...usage.nodes);
  const factList = Pairs('dl.facts-table');
  const taskList = ShortList(MAX_TASKS, TaskItem);
  const allTasksLink = element('a.more', 'All in Tasks');
  const taskSection = Section('Tasks', 'No tasks yet.', ...taskList.nodes, allTasksLink);
  const fileList = ShortList(MAX_FILES, FileRow(() => workspace));
  const moreFiles = element('p.facts', 'There may be more in older tasks and steps.');
  const fileSection = Section('Files edited', 'No tool call has edited a file.', ...fileList.nodes, moreFiles);
  const sessionList = ShortList(MAX_SESSIONS, SessionRow);
  const sessionSection = Section('Sessions', 'No tool has reported a session.', ...sessionList.nodes);
  const missing = element(
    'section.empty',
    element('h2', 'No such agent'),
    element('p', 'It has written no row, or its rows were pruned. Mail that you send here waits for it.')
  );
  const mailSection = element('section.panel', element('h2', 'Messages'), messageForm.root, history.root);
  const aside = element(
    'div.agent-aside',
    usageSection.root,
    taskSection.root,
    fileSection.root,
    sessionSection.root,
    element('section.panel', element('h2', 'Details'), factList.root)
  );
  const root = element(
    'article.agent-page',
    element('header.view-header', initials.root, title, tag.root, place.root, facts),
    missing,
    element('div.agent-columns', element('div.agent-main', work.root, mailSection), aside)
  );

  /** @param {string} newId */
  function open(newId) {
    if (id === newId) return;
    id = newId;
    messageForm.open(id);
    for (const list of [taskList, fileList, sessionList]) list.collapse();
    root.scrollTop = 0;
  }

  /**
   * @param {AgentSummary | undefined} known
   * @param {AgentSummary[]} agents
   */
  function set(known, agents) {
    /** @type {AgentSummary} */
    const agent = known || { row: { id }, at: 0, status: 'idle' };
    const tasks = [...state.tasks.values()]
      .filter(task => task.agent_id === id)
      .sort((a, b) => b.updated_at - a.updated_at);
    const data = loader.of(id, agent.at, tasks);
    const isMissing = !known && data.isMissing;
    workspace = agent.row.workspace || data.details?.workspace || '';
    initials.set(agentAuthor(id));
    setText(title, agentName(agent.row.label || id));
    tag.set(known ? agent.status : '');
    place.set(workspace || agent.task?.workspace);
    setTextOrHide(facts, headerFacts(agent, data));
    setHidden(missing, !isMissing);
    setHidden(work.root, !known);
    setHidden(aside, !!isMissing);
    work.set(agent, requestsOf(id, agents));
    history.set(id);
    usage.set(data);
    usageSection.set(data.total === undefined, !data.total);
    factList.set(factsOf(agent, data));
    taskList.set(tasks);
    taskSection.set(!state.loaded, !tasks.length);
    setHidden(allTasksLink, !tasks.length || /\s/.test(id));
    setAttribute(allTasksLink, 'href', '#/tasks' + queryString({ q: 'agent:' + id }));
    fileList.set(data.files || []);
    fileSection.set(!data.files, !data.files?.length);
    setHidden(moreFiles, !data.files?.length || !data.hasMoreFiles);
    sessionList.set(data.details?.sessions || []);
    sessionSection.set(!data.details, !data.details?.sessions.length);
  }

  return { root, open, set, focusMessage: messageForm.focus };
}
