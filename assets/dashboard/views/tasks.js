// Tasks: a table of all tasks, filtered and sorted by the text in the URL, and the steps of one task
// as they arrive. A tool call and its result are one row (timeline.js), the clock of a running call
// ticks, and the waterfall shows each step on the task's time axis.

import { element, setText, setHidden, setTextOrHide, setAttribute, drawing } from '../dom.js';
import { ListView } from '../list_view.js';
import { TimelineView } from '../timeline_view.js';
import {
  state,
  throttledList,
  invalidate,
  renderLater,
  taskCount,
  hasStatus,
  isFailure,
  KEPT_ITEMS
} from '../store.js';
import {
  openTimeline,
  loadTimeline,
  loadOlder,
  loadNewer,
  returnToLatest,
  loadMoreItems,
  loadForSearch,
  fetchTaskEvents,
  showNotice
} from '../sync.js';
import { EmptyState, Initials, setInitials, Tag, setTag, setTime, Chips, download, button } from '../components.js';
import { WakeNote } from '../wake_note.js';
import { agentAuthor, agentName } from '../authors.js';
import {
  formatCount,
  formatMoney,
  formatTime,
  formatDayAndTime,
  formatClock,
  formatDuration,
  pluralize
} from '../format.js';
import { routeTo, routeToNewMail, queryString } from '../routes.js';
import { oneLine, toolSummary, prettyJson, safeText, folderName } from '../safe_text.js';
import { showRendered, showPlainText } from '../rendered_text.js';
import { loadSetting, saveSetting } from '../storage.js';

const taskTitle = task => oneLine(task.directive) || safeText(task.task_id, 80);
const isUnfinished = task => /^(running|waiting)$/.test(task?.status);
const durationSeconds = task => ((isUnfinished(task) ? Date.now() : task.updated_at) - task.started_at) / 1e3;
const totalTokens = task => (task.tokens_in || 0) + (task.tokens_out || 0);

// ---- the filter: status:failed agent:planner cost:>1 since:2h errors:>0 sort:cost, and words ----

const SORT_VALUES = {
  turns: task => task.turns,
  tokens: totalTokens,
  cost: task => task.cost,
  took: durationSeconds,
  errors: task => task.errors
};
const TIME_UNITS_MS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const TEXT_FIELDS = { agent: 'agent_id', status: 'status', workspace: 'workspace', model: 'model' };
const FILTER_HELP =
  'Use status: agent: workspace: model: since:2h cost:>1 sort:cost, or one of ' +
  Object.keys(SORT_VALUES).join(', ') +
  '.';

const contains = (field, text) => task =>
  String(task[field] || '')
    .toLowerCase()
    .includes(text);

function compare(valueOf, operator, limit) {
  return task => {
    const value = valueOf(task) || 0;
    if (operator === '>') return value > limit;
    return operator === '<' ? value < limit : value === limit;
  };
}

/** Parses one word: { test }, { sortBy } or { error }. */
function parseFilterWord(word) {
  const [, key, operator, value] = /^(\w+):([<>]?)(.*)$/.exec(word) || [];
  const text = (value ?? word).toLowerCase();
  if (!key) {
    const tests = ['directive', 'task_id', 'agent_id'].map(field => contains(field, text));
    return { test: task => tests.some(test => test(task)) };
  }
  if (Object.hasOwn(TEXT_FIELDS, key)) return { test: contains(TEXT_FIELDS[key], text) };
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(text) || [];
  if (key === 'since' && unit) {
    return { test: task => task.updated_at > Date.now() - amount * TIME_UNITS_MS[unit] };
  }
  if (key === 'sort' && Object.hasOwn(SORT_VALUES, text)) return { sortBy: text };
  if (Object.hasOwn(SORT_VALUES, key) && text && !Number.isNaN(+text)) {
    return { test: compare(SORT_VALUES[key], operator, +text) };
  }
  return { error: `Unknown filter “${oneLine(word, 40)}”. ${FILTER_HELP}` };
}

/** Parses the whole filter: { test(task), sortBy, error }. */
function parseFilter(query) {
  const words = (query.match(/\S+/g) || []).map(parseFilterWord);
  const tests = words.filter(word => word.test);
  return {
    test: task => tests.every(word => word.test(task)),
    sortBy: words.findLast(word => word.sortBy)?.sortBy,
    error: words.findLast(word => word.error)?.error || ''
  };
}

// ---- the table ----

/** The columns after title and state: [heading, text of a cell, sort key]; no sort key: not sortable. */
const COLUMNS = [
  ['Agent', task => agentName(task.agent_id)],
  ['Folder', task => folderName(task.workspace)],
  ['Turns', task => formatCount(task.turns), 'turns'],
  ['Tokens', task => (totalTokens(task) ? formatCount(totalTokens(task)) : '–'), 'tokens'],
  ['Cost', task => (task.cost ? formatMoney(task.cost) : '–'), 'cost'],
  ['Took', task => formatClock(durationSeconds(task)), 'took'],
  ['Updated', null, '']
];
const tasksRoute = query => '#/tasks' + queryString({ q: query });

function createTaskRow() {
  const cells = COLUMNS.slice(0, -1).map(() => element('span'));
  return element('a.task-row', element('span', Initials(), element('b')), Tag(), ...cells, element('time'));
}

function TaskTable() {
  let query = '';
  let querySuffix = '';
  let filter = parseFilter('');
  const filteredTasks = throttledList('tasks', () => {
    const sortValue = SORT_VALUES[filter.sortBy] || isUnfinished;
    return [...state.tasks.values()]
      .filter(filter.test)
      .sort((a, b) => (sortValue(b) || 0) - (sortValue(a) || 0) || b.updated_at - a.updated_at);
  });
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
  const sortBy = key => {
    const unsorted = query.replace(/\s*sort:\S*/g, '');
    location.hash = tasksRoute((unsorted + (key && ' sort:' + key)).trim());
  };
  const headings = COLUMNS.map(([label, , key]) =>
    key == null ? element('span', label) : button(label, () => sortBy(key))
  );
  const header = element(
    'div.task-row column-headers',
    element('span', 'Task'),
    element('span', 'Status'),
    ...headings
  );
  const list = new ListView({
    label: 'Tasks',
    rowHeight: 40,
    keyOf: task => task.task_id,
    onNearEnd: () => loadMoreItems('tasks'),
    createRow: createTaskRow,
    fillRow(link, task) {
      const [title, tag, ...cells] = link.children;
      const time = cells.pop();
      setAttribute(link, 'href', routeTo('tasks', task.task_id) + querySuffix);
      setInitials(title.firstChild, agentAuthor(task.agent_id || task.task_id));
      setText(title.lastChild, taskTitle(task));
      setTag(tag, task.status);
      cells.forEach((cell, i) => setText(cell, COLUMNS[i][1](task)));
      setTime(time, task.updated_at);
    }
  });
  const root = element(
    'section.task-table',
    element('header.view-header', element('h1', 'Tasks'), summary, statusChips, searchInput),
    empty,
    hint,
    header,
    list.root
  );

  function summaryText(items) {
    const total = state.tasks.size;
    if (!total) return '';
    // A filter also applies to tasks that are not loaded yet.
    const hasMore = query && state.loaded && loadForSearch('tasks');
    // The hub counts all tasks, and all with one of these states.
    const counted = /^(?:status:(running|completed|failed))?$/.exec(query);
    if (counted) {
      const [, status] = counted;
      const countOf = name => taskCount(name, hasStatus(name));
      const count = status ? countOf(status) : taskCount('total');
      const running = status && status !== 'running' ? 0 : countOf('running');
      return `${count} ${count === 1 ? 'task' : 'tasks'}, ${running} running`;
    }
    const running = items.filter(hasStatus('running')).length;
    if (hasMore && total >= KEPT_ITEMS) {
      return `${items.length} of the newest ${formatCount(total)} tasks, ${running} running`;
    }
    const more = state.lastPages?.tasks.next ? '+' : '';
    return `${items.length}${more} ${items.length === 1 && !more ? 'task' : 'tasks'}, ${running} running`;
  }

  return {
    root,
    list,
    route(suffix, params) {
      query = params.get('q') || '';
      querySuffix = suffix;
      filter = parseFilter(query);
      if (searchInput !== document.activeElement) searchInput.value = query;
      headings.forEach((heading, i) => {
        const [, , key] = COLUMNS[i];
        setAttribute(heading, 'aria-pressed', key == null ? null : String((filter.sortBy || '') === key));
      });
      const otherWords = query.replace(/\s*status:\S+/g, '').trim();
      statusChips.set([
        { label: 'All', href: tasksRoute(otherWords), isCurrent: query === otherWords },
        ...['running', 'failed', 'completed'].map(status => ({
          label: status[0].toUpperCase() + status.slice(1),
          href: tasksRoute(`status:${status} ${otherWords}`.trim()),
          isCurrent: query.includes('status:' + status)
        }))
      ]);
    },
    render(topics, isVisible) {
      const items = filteredTasks(topics, !topics.has('all') && list.isInUse());
      if (!isVisible) {
        list.items = items;
        return;
      }
      const hasTasks = state.tasks.size > 0;
      setText(summary, summaryText(items));
      list.render(items, null);
      empty.show(state.loaded && !hasTasks);
      setHidden(header, !hasTasks);
      setTextOrHide(hint, filter.error || (hasTasks && !items.length ? 'No task matches this filter.' : ''));
    }
  };
}

// ---- one step ----

/** Returns the event that ends a step: the result of a call, or a result without a call. */
const endEvent = ({ event, result }) => result || (event.stream_type === 'tool_result' && event);
const isError = (event, end) => event.stream_type === 'error' || (!!end && (!!end.error_msg || isFailure(end.status)));

/** Creates the input and output of a step when it is opened: most never are. */
function updateToolIo(details) {
  details.querySelector('.tool-io')?.remove();
  if (!details.open) return;
  const { event, result } = details.row;
  const end = result || event;
  const toolIo = element('div.tool-io');
  for (const [label, text] of [
    ['Input', event.tool_input],
    ['Output', end.tool_output],
    ['Error', end.error_msg]
  ]) {
    if (text) toolIo.append(element('h4', label), element('pre', { tabindex: 0 }, prettyJson(text)));
  }
  if (!toolIo.firstChild) toolIo.append(element('p', 'No input or output was recorded.'));
  details.append(toolIo);
}

function createStep() {
  const details = element(
    'details',
    {
      ontoggle() {
        if (details.row && !details.row.open === details.open) {
          details.row.open = details.open;
          updateToolIo(details);
        }
      }
    },
    element('summary', element('i'), element('b'), element('span.snippet'), element('span.duration'))
  );
  return element(
    'div.step',
    element('a.gutter'),
    details,
    element('div.text', { dir: 'auto' }),
    drawing('lane', '100 10', '', {})
  );
}

/** Returns the text of an event that is not a tool call. */
function stepText(event) {
  const hasUsage = event.tokens_in || event.tokens_out;
  const cost = event.cost ? ' · ' + formatMoney(event.cost) : '';
  const usage = hasUsage ? ` · ${formatCount(event.tokens_in)} in · ${formatCount(event.tokens_out)} out` + cost : '';
  const turn = 'Turn ' + (event.turn_num || '');
  switch (event.stream_type) {
    case 'turn_start':
      return turn;
    case 'turn_end':
      return turn + ' ended' + usage;
    case 'error':
      return 'Error: ' + (event.error_msg || event.text || 'no details');
    case 'status':
      return event.status + usage + (event.text ? ': ' + event.text : '');
    default:
      return event.text || event.status || event.stream_type;
  }
}

// ---- export ----

/** Returns the steps as a Markdown document. A fence is longer than any in the output, so output cannot end it. */
function toMarkdown(task, events) {
  const sections = events.map(event => {
    if (event.stream_type === 'turn_start') return `## ${stepText(event)}\n`;
    const toolText = event.tool_input || event.tool_output;
    if (!toolText) return stepText(event) + '\n';
    const longestFence = Math.max(3, ...(toolText.match(/~+/g) || []).map(fence => fence.length));
    const fence = '~'.repeat(longestFence + 1);
    return `**${event.tool_name}** ${event.error_msg}\n\n${fence}\n${toolText}\n${fence}\n`;
  });
  return `# ${taskTitle(task)}\n\n` + sections.join('\n');
}
const EXPORTERS = {
  jsonl: (_, events) => events.map(event => JSON.stringify(event) + '\n').join(''),
  md: toMarkdown
};
async function exportTask(id, extension) {
  try {
    const events = [];
    for await (const event of fetchTaskEvents(id)) events.push(event);
    download(id + '.' + extension, EXPORTERS[extension](state.tasks.get(id) || { task_id: id }, events));
  } catch (error) {
    showNotice('Couldn’t export the task: ' + error.message);
  }
}

// ---- one task ----

const OUTLINE_INTERVAL_MS = 250;

function TaskDetail() {
  let id;
  let task;
  let timeline;
  /** The event id of the route, until it is shown; 0 if none. */
  let wantedEvent = 0;
  /** The direction of a search for an error that continues when an older page is loaded; 0 if none. */
  let errorSearch = 0;
  /** Start and end of the time axis, in Unix ms. */
  let timeAxis = [0, 1];
  let outlinedAt = 0;
  let querySuffix = '';
  let showsWaterfall = !!loadSetting('fall');

  const backLink = element('a.back', '← Tasks');
  const title = element('h1', { tabindex: -1 });
  const tag = Tag();
  const facts = element('p.facts');
  const hint = element('p.hint');
  const errorsButton = button('', () => goToError(1));
  const waterfallButton = button('Waterfall', () => {
    showsWaterfall = !showsWaterfall;
    saveSetting('fall', showsWaterfall);
    invalidate('all');
  });
  const followButton = button('Follow', () => steps.followLatest());
  const exportButtons = [
    ['JSONL', 'jsonl'],
    ['Markdown', 'md']
  ].map(([label, extension]) => button(label, () => exportTask(id, extension)));
  const messageLink = element('a.primary', 'Message');
  const wakeNote = WakeNote({ showsName: true });
  const axisLabels = element('p.axis', element('span'), element('span'));
  const steps = new TimelineView({
    label: 'Steps',
    ariaLive: 'off',
    createRow: createStep,
    fillRow: fillStep,
    loadOlder,
    loadNewer,
    loadLatest: loadTimeline
  });
  const turnList = new ListView({
    label: 'Turns',
    rowHeight: 34,
    keyOf: turn => turn.index,
    createRow: () => element('a', element('b'), element('span.duration')),
    fillRow(link, turn) {
      const [label, summary] = link.children;
      const duration = formatDuration((turn.end - turn.start) / 1e3);
      const figures = [duration, turn.cost && formatMoney(turn.cost)].filter(Boolean).join(' · ');
      setAttribute(link, 'href', routeTo('tasks', id, turn.firstEvent.id) + querySuffix);
      setText(label, 'Turn ' + turn.number);
      setAttribute(link, 'data-tone', turn.errors ? 'bad' : 'run');
      setText(summary, turn.errors ? pluralize(turn.errors, 'error') : figures);
    }
  });
  const root = element(
    'section.detail',
    element(
      'header.view-header',
      backLink,
      title,
      tag,
      facts,
      wakeNote.root,
      element('p.toolbar', errorsButton, waterfallButton, followButton, ...exportButtons, messageLink)
    ),
    hint,
    element(
      'div.task-run',
      element('section.outline', { 'aria-label': 'Turns' }, turnList.root),
      element('div.steps', axisLabels, steps.root)
    )
  );

  function fillStep(node, row, previousRow) {
    const { event } = row;
    const [timeLink, details, text, lane] = node.children;
    const type = event.stream_type;
    const isTool = type.startsWith('tool_');
    const end = endEvent(row);
    const isOpenCall = isTool && !end;
    const hasError = isError(event, end);
    const time = formatTime(event.created_at);
    const sameTime = previousRow && formatTime(previousRow.event.created_at) === time;
    setText(timeLink, sameTime ? '·' : time);
    setAttribute(timeLink, 'href', routeTo('tasks', id, event.id) + querySuffix);
    setAttribute(timeLink, 'aria-label', 'Link to the step at ' + time);
    setHidden(details, !isTool);
    setHidden(text, isTool);
    setAttribute(node, 'data-type', type);
    setAttribute(node, 'data-depth', row.depth || null);
    node.style.setProperty('--indent', row.depth * 1.4 + 'rem');
    // A call without a result runs as long as its task.
    row.running = isOpenCall && (!task || isUnfinished(task));
    const toolTone = end ? 'ok' : row.running ? 'run' : 'none';
    setAttribute(node, 'data-tone', hasError ? 'bad' : isTool ? toolTone : type);
    let endedAt = event.created_at;
    if (end) endedAt = end.created_at;
    else if (isOpenCall) endedAt = row.running ? Date.now() : timeAxis[1];
    if (showsWaterfall) {
      const [axisStart, axisEnd] = timeAxis;
      const x = ms => Math.max(0, Math.min(100, (100 * (ms - axisStart)) / Math.max(1, axisEnd - axisStart)));
      const start = x(event.created_at);
      const line = `M${start.toFixed(2)} 5H${Math.max(start + 0.4, x(endedAt)).toFixed(2)}`;
      setAttribute(lane.firstChild, 'd', line);
    }
    if (!isTool) {
      const isText = event.text && stepText(event) === event.text;
      if (!isText) return showPlainText(text, stepText(event));
      return showRendered(text, { kind: 'event', id: event.id, field: 'text', text: event.text });
    }
    const [outcome, tool, snippet, duration] = details.firstChild.children;
    const seconds = (endedAt - event.created_at) / 1e3;
    const outcomeOfOpenCall = row.running ? 'running' : 'no result';
    setText(outcome, hasError ? 'error' : end ? 'done' : outcomeOfOpenCall);
    setText(tool, oneLine(event.tool_name || 'tool', 60));
    setText(snippet, toolSummary(event.tool_input || event.tool_output));
    setText(duration, end ? formatDuration(seconds) : row.running ? formatClock(seconds) : '');
    if (details.row !== row || details.version !== row.version) {
      details.row = row;
      details.version = row.version;
      details.open = !!row.open;
      updateToolIo(details);
    }
  }

  /** Collects the turns and errors of the loaded rows, and sets the time axis. */
  function updateOutline() {
    const { rows } = timeline;
    const turns = [];
    let turn;
    let errorCount = 0;
    rows.forEach((row, i) => {
      const { event } = row;
      const end = endEvent(row);
      const startsTurn = !turn || (event.turn_num && event.turn_num !== turn.number);
      if (!row.depth && startsTurn) {
        turn = {
          index: rows.firstIndex + i,
          firstEvent: event,
          number: event.turn_num || 1,
          start: event.created_at,
          end: event.created_at,
          cost: 0,
          errors: 0
        };
        turns.push(turn);
      }
      if (!turn) return;
      turn.end = Math.max(turn.end, event.created_at, end ? end.created_at : 0);
      turn.cost += event.cost || 0;
      if (isError(event, end)) {
        turn.errors++;
        errorCount++;
      }
    });
    if (rows.length) {
      const lastTime = rows.at(-1).event.created_at;
      const knownEnd = Math.max(lastTime, (!rows.detached && task?.updated_at) || 0);
      timeAxis = [rows[0].event.created_at, isUnfinished(task) && !rows.detached ? Date.now() : knownEnd];
    }
    // Pages that are not loaded may have more errors: the hub has counted all.
    errorCount = Math.max(errorCount, task?.errors || 0);
    setText(errorsButton, pluralize(errorCount, 'error'));
    errorsButton.disabled = !errorCount;
    timeAxis.forEach((ms, i) => setText(axisLabels.children[i], formatDayAndTime(ms)));
    const drawnWith = task?.status + (showsWaterfall && timeAxis.join());
    if (steps.drawnWith !== drawnWith) {
      steps.drawnWith = drawnWith;
      steps.redrawAll = true;
    }
    const current = turns.findLast(t => t.index <= (steps.selected ?? Infinity));
    turnList.render(turns, current?.index ?? null);
  }

  /** Selects the next error in a direction (1 or -1). Backwards it loads older pages; at the end it starts over. */
  function goToError(direction) {
    const { rows } = timeline;
    const count = rows.length;
    const beforeFirst = direction > 0 ? rows.firstIndex - 1 : rows.firstIndex + count;
    let i = (steps.selected ?? beforeFirst) - rows.firstIndex;
    errorSearch = 0;
    for (let left = count; left--;) {
      i += direction;
      if (i < 0 && !rows.complete) break;
      i = (i + count) % count;
      if (isError(rows[i].event, endEvent(rows[i]))) return steps.select(rows.firstIndex + i);
    }
    if (rows.complete) return;
    errorSearch = direction;
    loadOlder(timeline);
  }

  function factsText() {
    if (!task) return '';
    return [
      agentName(task.agent_id) + (task.workspace ? ' in ' + oneLine(task.workspace, 80) : ''),
      oneLine(task.model, 40),
      task.cost && formatMoney(task.cost),
      pluralize(task.turns, 'turn'),
      totalTokens(task) && formatCount(task.tokens_in) + ' in',
      totalTokens(task) && formatCount(task.tokens_out) + ' out',
      formatClock(durationSeconds(task))
    ]
      .filter(Boolean)
      .join(' · ');
  }

  return {
    root,
    steps,
    goToError,
    waterfallButton,
    messageLink,
    get title() {
      return taskTitle(task || { task_id: id });
    },
    route(suffix, taskId, eventId) {
      querySuffix = suffix;
      id = taskId;
      wantedEvent = +eventId || 0;
      errorSearch = 0;
      if (!wantedEvent) returnToLatest('tasks', id);
      setAttribute(backLink, 'href', '#/tasks' + querySuffix);
    },
    render(topics) {
      if (topics.has('all')) timeline = openTimeline('tasks', id);
      task = state.tasks.get(id);
      const { rows } = timeline;
      const emptyText = timeline.loading ? 'Loading…' : 'No steps yet.';
      setTextOrHide(hint, timeline.error || (timeline.loading || !rows.length ? emptyText : ''));
      setText(title, taskTitle(task || { task_id: id }));
      title.title = safeText(task?.directive, 600);
      setTag(tag, task?.status);
      setText(facts, factsText());
      setAttribute(messageLink, 'href', routeToNewMail(task?.agent_id));
      setHidden(messageLink, !task?.agent_id);
      wakeNote.set(task?.agent_id, !isUnfinished(task));
      setAttribute(root, 'data-waterfall', showsWaterfall);
      setAttribute(waterfallButton, 'aria-pressed', String(showsWaterfall));
      setAttribute(followButton, 'aria-pressed', String(steps.following));
      if (topics.has('all') || performance.now() - outlinedAt > OUTLINE_INTERVAL_MS) {
        outlinedAt = performance.now();
        updateOutline();
      } else {
        renderLater();
      }
      steps.render(timeline);
      if (timeline.loading || !rows.length) return;
      if (wantedEvent && !timeline.busy) {
        if (steps.selectPosition(wantedEvent)) wantedEvent = 0;
        else loadTimeline(timeline, wantedEvent + 1);
      }
      if (errorSearch && !timeline.rows.loadingPage) goToError(errorSearch);
    }
  };
}

export default function tasks() {
  let id;
  const table = TaskTable();
  const detail = TaskDetail();
  const root = element('div.tasks', table.root, detail.root);
  const openNeighbour = offset => {
    const { items } = table.list;
    const neighbour = items[items.findIndex(task => task.task_id === id) + offset];
    if (id && neighbour) {
      const query = location.hash.replace(/^[^?]*/, '');
      location.hash = routeTo('tasks', neighbour.task_id) + query;
    }
  };
  return {
    root,
    get title() {
      return id ? detail.title : 'Tasks';
    },
    keys: {
      f: () => detail.steps.followLatest(),
      w: () => detail.waterfallButton.click(),
      e: () => id && detail.goToError(1),
      E: () => id && detail.goToError(-1),
      '[': () => openNeighbour(-1),
      ']': () => openNeighbour(1),
      m: () => id && detail.messageLink.click()
    },
    route([taskId, eventId], params) {
      const suffix = queryString({ q: params.get('q') });
      id = taskId;
      table.route(suffix, params);
      if (id) detail.route(suffix, id, eventId);
      setAttribute(root, 'data-detail', id);
      setHidden(table.root, id);
      setHidden(detail.root, !id);
    },
    render(topics) {
      table.render(topics, !id);
      if (id) detail.render(topics);
    }
  };
}
