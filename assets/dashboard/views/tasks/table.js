// The table of all tasks, filtered and sorted by the text in the URL.

/** @import { Task, Topics } from '../../types.d.ts' */

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../../dom.js';
import { state } from '../../store.js';
import { KEPT_ITEMS } from '../../store/eviction.js';
import { throttledList } from '../../store/schedule.js';
import { hasStatus, taskCount } from '../../store/tasks.js';
import { loadForSearch, loadMoreItems } from '../../sync/lists.js';
import { EmptyState } from '../../components/commands.js';
import { button } from '../../components/forms.js';
import { Age, Initials, TaskTag } from '../../components/labels.js';
import { ListView } from '../../components/list_view.js';
import { Chips } from '../../components/lists.js';
import { agentAuthor, agentName } from '../../authors.js';
import { capitalize, formatClock, formatCount, formatMoney } from '../../format.js';
import { queryString, routeTo } from '../../routes.js';
import { folderName } from '../../safe_text.js';
import { taskTitle } from '../../steps.js';
import { durationSeconds, parseFilter, totalTokens } from './filter.js';

/** The columns between the status and the age. A heading with a sort key is a button. */
const COLUMNS = [
  { heading: 'Agent', text: (/** @type {Task} */ task) => agentName(task.agent_id) },
  { heading: 'Folder', text: (/** @type {Task} */ task) => folderName(task.workspace) },
  { heading: 'Turns', text: (/** @type {Task} */ task) => formatCount(task.turns), sortKey: 'turns' },
  {
    heading: 'Tokens',
    text: (/** @type {Task} */ task) => (totalTokens(task) ? formatCount(totalTokens(task)) : '–'),
    sortKey: 'tokens'
  },
  { heading: 'Cost', text: (/** @type {Task} */ task) => (task.cost ? formatMoney(task.cost) : '–'), sortKey: 'cost' },
  { heading: 'Took', text: (/** @type {Task} */ task) => formatClock(durationSeconds(task)), sortKey: 'took' }
];
const STATUS_CHIPS = ['running', 'failed', 'completed'];
/** Filters whose tasks the hub counts: all tasks, and those with one of these states. */
const COUNTED_FILTERS = new Map(
  /** @type {const} */ ([
    ['', ''],
    ['status:running', 'running'],
    ['status:waiting', 'waiting'],
    ['status:completed', 'completed'],
    ['status:failed', 'failed']
  ])
);

/** @param {string} query */
const tasksRoute = query => '#/tasks' + queryString({ q: query });

/** @param {string} query */
const withoutSorting = query => query.replace(/\bsort:\S*/g, '').trim();

/** @param {number} count */
const taskWord = count => (count === 1 ? 'task' : 'tasks');

/**
 * One task. `querySuffix()` keeps the filter in its link.
 * @param {() => string} querySuffix
 */
function TaskRow(querySuffix) {
  const initials = Initials();
  const title = element('b');
  const tag = TaskTag();
  const cells = COLUMNS.map(() => element('span'));
  const age = Age();
  const root = element('a.task-row', element('span', initials.root, title), tag.root, ...cells, age.root);
  return {
    root,
    /** @param {Task} task */
    set(task) {
      setAttribute(root, 'href', routeTo('tasks', task.task_id) + querySuffix());
      initials.set(agentAuthor(task.agent_id || task.task_id));
      setText(title, taskTitle(task));
      tag.set(task);
      COLUMNS.forEach((column, i) => setText(cells[i], column.text(task)));
      age.set(task.updated_at);
    }
  };
}

/**
 * The headings of the columns. Those of columns that can be sorted are buttons; 'Updated' is the order without a key.
 * @param {(sortKey: string) => void} sortBy
 */
function Headings(sortBy) {
  /** @type {{ key: string, node: HTMLElement }[]} */
  const buttons = [];
  const nodes = [...COLUMNS, { heading: 'Updated', sortKey: '' }].map(({ heading, sortKey }) => {
    if (sortKey === undefined) return element('span', heading);
    const node = button(heading, () => sortBy(sortKey));
    buttons.push({ key: sortKey, node });
    return node;
  });
  const root = element(
    'div.task-row column-headers',
    element('span', 'Task'),
    element('span', 'Status'),
    ...nodes
  );
  return {
    root,
    /** @param {string} sortKey */
    set(sortKey) {
      for (const { key, node } of buttons) setAttribute(node, 'aria-pressed', String(key === sortKey));
    }
  };
}

export function TaskTable() {
  let query = '';
  let querySuffix = '';
  let filter = parseFilter('');
  const filteredTasks = throttledList('tasks', () =>
    [...state.tasks.values()]
      .filter(filter.test)
      .sort((a, b) => (filter.valueOf(b) || 0) - (filter.valueOf(a) || 0) || b.updated_at - a.updated_at)
  );
  const searchInput = element('input', {
    type: 'search',
    'aria-label': 'Filter tasks',
    placeholder: 'status:failed cost:>1 text',
    spellcheck: 'false',
    oninput: () => location.replace(tasksRoute(searchInput.value))
  });
  const statusChips = Chips('Status');
  const summary = element('p.facts');
  const hint = element('p.hint');
  const empty = EmptyState('No tasks yet', 'A task is the recorded steps of one agent run.', 'run', 'demo');
  const headings = Headings(key => {
    location.hash = tasksRoute((withoutSorting(query) + (key && ' sort:' + key)).trim());
  });
  const list = ListView({
    label: 'Tasks',
    rowHeight: 40,
    keyOf: (/** @type {Task} */ task) => task.task_id,
    onNearEnd: () => loadMoreItems('tasks'),
    createRow: () => TaskRow(() => querySuffix)
  });
  const root = element(
    'section.task-table',
    element('header.view-header', element('h1', 'Tasks'), summary, statusChips.root, searchInput),
    empty.root,
    hint,
    headings.root,
    list.root
  );

  /** @param {Task[]} items the tasks that match the filter */
  function summaryText(items) {
    const total = state.tasks.size;
    if (!total) return '';
    // A filter also applies to tasks that are not loaded yet.
    const hasMore = query && state.loaded && loadForSearch('tasks');
    const counted = COUNTED_FILTERS.get(/** @type {'status:failed'} */ (withoutSorting(query)));
    if (counted !== undefined) return countedText(counted);
    const running = items.filter(hasStatus('running')).length;
    if (hasMore && total >= KEPT_ITEMS) {
      return `${items.length} of the newest ${formatCount(total)} tasks, ${running} running`;
    }
    const more = state.lastPages?.tasks.next ? '+' : '';
    return `${items.length}${more} ${more ? 'tasks' : taskWord(items.length)}, ${running}${more} running`;
  }

  /** @param {'' | 'running' | 'waiting' | 'completed' | 'failed'} status */
  function countedText(status) {
    const countOf = (/** @type {'running' | 'waiting' | 'completed' | 'failed'} */ name) => taskCount(name, hasStatus(name));
    const count = status ? countOf(status) : taskCount('total');
    const running = status === '' || status === 'running' ? countOf('running') : 0;
    return `${count} ${taskWord(count)}, ${running} running`;
  }

  function drawChips() {
    const otherWords = query.replace(/\s*status:\S+/g, '').trim();
    statusChips.set([
      { label: 'All', href: tasksRoute(otherWords), isCurrent: query === otherWords },
      ...STATUS_CHIPS.map(status => ({
        label: capitalize(status),
        href: tasksRoute(`status:${status} ${otherWords}`.trim()),
        isCurrent: query.includes('status:' + status)
      }))
    ]);
  }

  return {
    root,
    /** Returns the tasks in the order of the table. */
    items: () => list.items,
    /**
     * @param {string} suffix the query of the route
     * @param {string} newQuery
     */
    route(suffix, newQuery) {
      query = newQuery;
      querySuffix = suffix;
      filter = parseFilter(query);
      if (searchInput !== document.activeElement) searchInput.value = query;
      headings.set(filter.sortBy);
      drawChips();
    },
    /** Updates the items while the table is hidden, for the keys that go to the next task. */
    update(/** @type {Topics} */ topics) {
      list.items = filteredTasks(topics, !topics.has('all') && list.isInUse());
    },
    /** @param {Topics} topics */
    render(topics) {
      const items = filteredTasks(topics, !topics.has('all') && list.isInUse());
      const hasTasks = state.tasks.size > 0;
      setText(summary, summaryText(items));
      list.render(items, null);
      empty.show(state.loaded && !hasTasks);
      setHidden(headings.root, !hasTasks);
      setTextOrHide(hint, filter.error || (hasTasks && !items.length ? 'No task matches this filter.' : ''));
    }
  };
}
