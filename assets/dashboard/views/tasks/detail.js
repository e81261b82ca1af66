// One task: its facts, the outline of its turns, and its steps as they arrive. The clock of a running call ticks, and the
// waterfall shows each step on the task's time axis.

/** @import { Task, TaskEvent, Timeline, TimelineRow, Topics, Turn } from '../../types.d.ts' */

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../../dom.js';
import { state } from '../../store.js';
import { invalidate, renderLater } from '../../store/schedule.js';
import { isUnfinished } from '../../store/tasks.js';
import { loadNewer, loadOlder, loadTimeline, openTimeline, returnToLatest } from '../../sync/timelines.js';
import { button } from '../../components/forms.js';
import { Initials, NameLink, TaskTag } from '../../components/labels.js';
import { ListView } from '../../components/list_view.js';
import { TimelineView } from '../../components/timeline_view.js';
import { WakeNote } from '../../components/wake_note.js';
import { agentAuthor } from '../../authors.js';
import { formatClock, formatCount, formatDayAndTime, formatDuration, formatMoney, pluralize } from '../../format.js';
import { routeTo, routeToNewMail } from '../../routes.js';
import { oneLine, safeText } from '../../safe_text.js';
import { taskTitle } from '../../steps.js';
import { loadSetting, saveSetting } from '../../storage.js';
import { exportTask, FORMATS } from './export.js';
import { durationSeconds, totalTokens } from './filter.js';
import { Outline, timeAxisOf } from './outline.js';
import { isErrorStep, StepRow } from './step.js';
import { StepSearch } from './step_search.js';

const OUTLINE_INTERVAL_MS = 250;

/**
 * One turn in the outline.
 * @param {(event: TaskEvent) => string} routeOf
 */
function TurnRow(routeOf) {
  const label = element('b');
  const summary = element('span.duration');
  const root = element('a', label, summary);
  return {
    root,
    /** @param {Turn} turn */
    set(turn) {
      const duration = formatDuration((turn.end - turn.start) / 1e3);
      const figures = [duration, turn.cost && formatMoney(turn.cost)].filter(Boolean).join(' · ');
      setAttribute(root, 'href', routeOf(turn.firstEvent));
      setText(label, 'Turn ' + turn.number);
      setAttribute(root, 'data-tone', turn.errors ? 'bad' : 'run');
      setText(summary, turn.errors ? pluralize(turn.errors, 'error') : figures);
    }
  };
}

/** @param {Task | undefined} task */
function factsText(task) {
  if (!task) return '';
  const tokens = totalTokens(task);
  return [
    task.workspace ? 'in ' + oneLine(task.workspace, 80) : '',
    oneLine(task.model, 40),
    task.cost && formatMoney(task.cost),
    pluralize(task.turns, 'turn'),
    tokens && formatCount(task.tokens_in) + ' in',
    tokens && formatCount(task.tokens_out) + ' out',
    formatClock(durationSeconds(task))
  ]
    .filter(Boolean)
    .join(' · ');
}

export function TaskDetail() {
  let id = '';
  let querySuffix = '';
  /** @type {Task | undefined} */
  let task;
  /** @type {Timeline<TaskEvent>} */
  let timeline;
  /** The event id of the route, until it is shown; 0 if none. */
  let wantedEvent = 0;
  /** The direction of a search for an error that continues when an older page is loaded; 0 if none. */
  let errorSearch = 0;
  let timeAxis = { start: 0, end: 1 };
  let outlinedAt = 0;
  const outline = Outline();
  let showsWaterfall = !!loadSetting('fall');

  /** @param {TaskEvent} event */
  const routeOf = event => routeTo('tasks', id, event.id) + querySuffix;
  const backLink = element('a.back', '← Tasks');
  const title = element('h1', { tabindex: -1 });
  const tag = TaskTag();
  const initials = Initials();
  const agentLink = NameLink();
  const facts = element('span.facts');
  const factsLine = element('p.task-facts', initials.root, agentLink.root, facts);
  const hint = element('p.hint');
  const wakeNote = WakeNote({ showsName: true });
  const errorsButton = button('', () => goToError(1));
  const previousErrorButton = button('↑', () => goToError(-1));
  previousErrorButton.setAttribute('aria-label', 'Previous error');
  const turnsButton = button('', toggleTurns);
  const waterfallButton = button('Waterfall', toggleWaterfall);
  const followButton = button('Follow', () => steps.followLatest());
  const exportButtons = FORMATS.map(format => button(format.label, () => void exportTask(id, format)));
  const messageLink = element('a.primary', 'Message');
  const axisStart = element('span');
  const axisEnd = element('span');
  const steps = new TimelineView({
    label: 'Steps',
    ariaLive: 'off',
    createRow: () =>
      StepRow({
        isTaskRunning: () => !task || isUnfinished(task),
        showsWaterfall: () => showsWaterfall,
        timeAxis: () => timeAxis,
        routeOf,
        nestedOf: outline.nestedOf,
        toggleTurn(turn) {
          outline.toggleTurn(turn);
          showSteps();
        },
        toggleNested(step) {
          outline.toggleNested(step);
          showSteps();
        }
      }),
    loadOlder,
    loadNewer,
    loadLatest: loadTimeline
  });
  const turnList = ListView({
    label: 'Turns',
    rowHeight: 34,
    keyOf: (/** @type {Turn} */ turn) => turn.firstEvent.id,
    createRow: () => TurnRow(routeOf)
  });
  const search = StepSearch({
    show(step) {
      if (step.event.stream_type === 'tool_use' || step.event.stream_type === 'tool_result') step.open = true;
      goToStep(step);
    },
    loadOlder: () => loadOlder(timeline),
    changed: () => invalidate('all')
  });
  const root = element(
    'section.detail',
    element(
      'header.view-header',
      backLink,
      title,
      tag.root,
      factsLine,
      wakeNote.root,
      element(
        'p.toolbar',
        errorsButton,
        previousErrorButton,
        turnsButton,
        waterfallButton,
        followButton,
        ...exportButtons,
        messageLink
      )
    ),
    hint,
    element(
      'div.task-run',
      element('section.outline', { 'aria-label': 'Turns' }, turnList.root),
      element('div.steps', search.root, element('p.axis', axisStart, axisEnd), steps.root)
    )
  );

  function toggleWaterfall() {
    showsWaterfall = !showsWaterfall;
    saveSetting('fall', showsWaterfall);
    invalidate('all');
  }

  function renderHeader() {
    const agentId = task?.agent_id || '';
    setText(title, taskTitle(task || { task_id: id }));
    title.title = safeText(task?.directive, 600);
      tag.set(task);
      setHidden(factsLine, !task);
      initials.set(agentAuthor(agentId || id));
      agentLink.set(agentAuthor(agentId));
    setText(facts, factsText(task));
    setAttribute(messageLink, 'href', routeToNewMail(agentId));
    setHidden(messageLink, !agentId);
    wakeNote.set(agentId, !isUnfinished(task));
    setAttribute(root, 'data-waterfall', showsWaterfall);
    setAttribute(waterfallButton, 'aria-pressed', String(showsWaterfall));
    setAttribute(followButton, 'aria-pressed', String(steps.following));
  }

  /** Opens all turns, or closes them if all are open. */
  function toggleTurns() {
    outline.toggleAll();
    showSteps();
  }

  /** Shows the steps after turns or calls were opened or closed. What the reader looks at keeps its place. */
  function showSteps() {
    buildOutline();
    steps.render(timeline, outline.shown());
    invalidate('timeline');
  }

  function buildOutline() {
    outline.build(timeline.rows, isUnfinished(task), steps.following);
    steps.redrawAll();
  }

  /** Shows the turns, the number of errors and the time axis. */
  function renderOutline() {
    const { rows } = timeline;
    buildOutline();
    const turns = outline.turns();
    if (rows.length) {
      timeAxis = timeAxisOf(rows, task);
      search.update(rows);
    }
    // Pages that are not loaded may have more errors: the hub has counted all.
    const loadedErrors = turns.reduce((sum, turn) => sum + turn.errors, 0);
    const errorCount = Math.max(loadedErrors, task?.errors || 0);
    setText(errorsButton, pluralize(errorCount, 'error'));
    setHidden(errorsButton, !errorCount);
    setHidden(previousErrorButton, !errorCount);
    setText(turnsButton, turns.some(turn => !turn.isOpen) ? 'Expand turns' : 'Collapse turns');
    turnsButton.disabled = !turns.length;
    setText(axisStart, formatDayAndTime(timeAxis.start));
    setText(axisEnd, formatDayAndTime(timeAxis.end));
    const selectedId = steps.selectedRow?.event.id ?? Infinity;
    const current = turns.findLast(turn => turn.firstEvent.id <= selectedId);
    turnList.render(turns, current?.firstEvent.id ?? null);
  }

  /**
   * Selects a step, after opening what it is in.
   * @param {TimelineRow<TaskEvent>} step
   */
  function goToStep(step) {
    const shownRow = outline.reveal(step);
    buildOutline();
    steps.render(timeline, outline.shown());
    steps.select(shownRow);
  }

  /**
   * Selects the next error in a direction (1 or -1). Backwards it loads older pages; at the end it starts over.
   * @param {number} direction
   */
  function goToError(direction) {
    const { rows } = timeline;
    const count = rows.length;
    const selectedId = steps.selectedRow?.event.id;
    const beforeFirst = direction > 0 ? -1 : count;
    const selectedIndex = rows.findIndex(row => row.event.id === selectedId);
    let i = selectedIndex < 0 ? beforeFirst : selectedIndex;
    errorSearch = 0;
    for (let left = count; left--;) {
      i += direction;
      if (i < 0 && !rows.complete) break;
      i = (i + count) % count;
      if (isErrorStep(rows[i])) return goToStep(rows[i]);
    }
    if (rows.complete) return;
    errorSearch = direction;
    loadOlder(timeline);
  }

  /** Goes to the event of the route, and goes on with a search for an error. */
  function finishNavigation() {
    if (wantedEvent && !timeline.busy) {
      const row = steps.rowAtPosition(wantedEvent);
      if (row) {
        wantedEvent = 0;
        goToStep(row);
      } else {
        void loadTimeline(timeline, wantedEvent + 1);
      }
    }
    if (errorSearch && !timeline.rows.loadingPage) goToError(errorSearch);
  }

  return {
    root,
    goToError,
    followLatest: () => steps.followLatest(),
    toggleWaterfall,
    toggleTurns,
    search,
    openMessage: () => messageLink.click(),
    title: () => taskTitle(task || { task_id: id }),
    /**
     * @param {string} suffix the query of the route
     * @param {string} taskId
     * @param {string | undefined} eventId
     */
    route(suffix, taskId, eventId) {
      querySuffix = suffix;
      if (id !== taskId) {
        outline.reset();
        search.reset();
      }
      id = taskId;
      wantedEvent = Number(eventId) || 0;
      errorSearch = 0;
      if (!wantedEvent) returnToLatest('tasks', id);
      setAttribute(backLink, 'href', '#/tasks' + querySuffix);
    },
    /** @param {Topics} topics */
    render(topics) {
      if (topics.has('all')) timeline = openTimeline('tasks', id);
      task = state.tasks.get(id);
      const { rows, loading, error } = timeline;
      const emptyText = loading ? 'Loading…' : 'No steps yet.';
      setTextOrHide(hint, error || (loading || !rows.length ? emptyText : ''));
      renderHeader();
      const isDue = topics.has('all') || performance.now() - outlinedAt > OUTLINE_INTERVAL_MS;
      if (isDue || !outline.append(rows)) {
        outlinedAt = performance.now();
        renderOutline();
      } else {
        renderLater();
      }
      steps.render(timeline, outline.shown());
      if (!loading && rows.length) finishNavigation();
    }
  };
}
