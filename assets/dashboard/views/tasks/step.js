// One step of a task, or the header of a turn. A tool call and its result are one step.

/** @import { TaskEvent, TimelineRow, Turn } from '../../types.d.ts' */
/** @import { CallSummary } from './call_summary.js' */
/** @import { NestedSteps } from './outline.js' */

import { element, setText, setHidden, setTextOrHide, setAttribute, drawing, drawnPath } from '../../dom.js';
import { isFailure } from '../../store/tasks.js';
import { RenderedText } from '../../components/rendered_text.js';
import { formatClock, formatCount, formatDuration, formatMoney, formatTime, pluralize } from '../../format.js';
import { exitCode, firstErrorLine, summarizeCall } from './call_summary.js';

/** @typedef {TimelineRow<TaskEvent>} Step */

const TOOL_STEPS = new Set(['tool_use', 'tool_result']);

/**
 * Returns the event that ends a step: the result of a call, or a result without a call.
 * @param {Step} step
 */
export const endEvent = ({ event, result }) => result || (event.stream_type === 'tool_result' ? event : undefined);

/** @param {Step} step */
export function isErrorStep(step) {
  const end = endEvent(step);
  return step.event.stream_type === 'error' || (!!end && (!!end.error_msg || isFailure(end.status)));
}

/**
 * Returns the text of an event that is not a tool call.
 * @param {TaskEvent} event
 */
export function stepText(event) {
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

/**
 * The input, the output and the error of a tool call.
 * @param {Step} step
 */
function ToolIo({ event, result }) {
  const end = result || event;
  const root = element('div.tool-io');
  /** @type {{ label: string, row: TaskEvent, field: 'tool_input' | 'tool_output' | 'error_msg' }[]} */
  const parts = [
    { label: 'Input', row: event, field: 'tool_input' },
    { label: 'Output', row: end, field: 'tool_output' },
    { label: 'Error', row: end, field: 'error_msg' }
  ];
  for (const { label, row, field } of parts) {
    const text = row[field];
    if (!text) continue;
    const part = RenderedText('div.text');
    root.append(element('h4', label), part.root);
    part.set({ kind: 'event', id: row.id, field, text });
  }
  if (!root.firstChild) root.append(element('p', 'No input or output was recorded.'));
  return root;
}

/**
 * A part that is created when it first has a value, and hidden while it has none: most rows never show most parts.
 * @template T
 * @param {() => { root: HTMLElement, set: (value: T) => void }} create
 * @param {(root: HTMLElement) => void} insert
 */
function LazyPart(create, insert) {
  /** @type {ReturnType<typeof create> | undefined} */
  let part;
  return {
    /** @param {T | undefined} value */
    set(value) {
      if (value === undefined) {
        if (part) setHidden(part.root, true);
        return;
      }
      if (!part) {
        part = create();
        insert(part.root);
      }
      setHidden(part.root, false);
      part.set(value);
    }
  };
}

/** A path, of which the file's name is always visible. */
function Path() {
  const folder = element('span.folder');
  const file = element('span.file');
  return {
    root: element('span.path', folder, file),
    /** @param {CallSummary} summary */
    set(summary) {
      setTextOrHide(folder, summary.folder);
      setText(file, summary.file);
    }
  };
}

/** The numbers of lines that an edit adds and removes. */
function ChangedLines() {
  const added = element('span.added');
  const removed = element('span.removed');
  return {
    root: element('span.changes', added, removed),
    /** @param {{ added: number, removed: number }} lines */
    set(lines) {
      setTextOrHide(added, lines.added ? '+' + lines.added : '');
      setTextOrHide(removed, lines.removed ? '\u2212' + lines.removed : '');
    }
  };
}

/** The exit code and the first line of a call's error. */
function CallError() {
  const code = element('span.exit-code');
  const line = element('span.error-line');
  return {
    root: element('span.failure', code, line),
    /** @param {string | undefined} error */
    set(error) {
      const exit = exitCode(error);
      setTextOrHide(code, exit && 'exit ' + exit);
      setTextOrHide(line, firstErrorLine(error));
    }
  };
}

/**
 * A tool call on one line, which opens its input and output.
 */
function ToolCall() {
  const outcome = element('i');
  const tool = element('b');
  const snippet = element('span.snippet');
  const duration = element('span.duration');
  const path = LazyPart(Path, part => snippet.before(part));
  const changes = LazyPart(ChangedLines, part => snippet.after(part));
  const failure = LazyPart(CallError, part => duration.before(part));
  const root = element('details', { ontoggle }, element('summary', outcome, tool, snippet, duration));
  /** @type {Step | undefined} */
  let shown;
  let shownVersion = 0;
  /** @type {HTMLElement | undefined} */
  let toolIo;

  function ontoggle() {
    if (!shown || !!shown.open === root.open) return;
    shown.open = root.open;
    updateToolIo(shown);
  }

  /** Creates the input and output when the call is opened: most never are. */
  function updateToolIo(/** @type {Step} */ step) {
    toolIo?.remove();
    toolIo = undefined;
    if (!root.open) return;
    toolIo = ToolIo(step);
    root.append(toolIo);
  }

  /** @param {{ step: Step, seconds: number }} call `seconds`: how long it took, or has run so far */
  function set({ step, seconds }) {
    const { event, running } = step;
    const end = endEvent(step);
    const clock = running ? formatClock(seconds) : '';
    setText(outcome, outcomeWord(step));
    setText(duration, end ? formatDuration(seconds) : clock);
    if (shown === step && shownVersion === step.version && root.open === !!step.open) return;
    shown = step;
    shownVersion = step.version;
    const summary = summarizeCall(event);
    setText(tool, summary.tool);
    setText(snippet, summary.text);
    setHidden(snippet, !!summary.file);
    path.set(summary.file ? summary : undefined);
    changes.set(summary.lines);
    failure.set(end?.error_msg || undefined);
    root.open = !!step.open;
    updateToolIo(step);
  }
  return { root, set };
}

/** The text of a step that is no tool call. */
function StepText() {
  const text = RenderedText('div.text');
  return {
    root: text.root,
    /** @param {TaskEvent} event */
    set(event) {
      const shownText = stepText(event);
      if (!event.text || event.text !== shownText) text.setPlain(shownText);
      else text.set({ kind: 'event', id: event.id, field: 'text', text: event.text });
    }
  };
}

/** @param {Step} step */
function outcomeWord(step) {
  if (isErrorStep(step)) return 'error';
  if (endEvent(step)) return 'done';
  return step.running ? 'running' : 'no result';
}

/** @param {Step} step */
function stepTone(step) {
  if (isErrorStep(step)) return 'bad';
  if (!TOOL_STEPS.has(step.event.stream_type)) return step.event.stream_type;
  if (endEvent(step)) return 'ok';
  return step.running ? 'run' : 'none';
}

/**
 * What steps need to know about their task.
 * @typedef {object} StepContext
 * @property {() => boolean} isTaskRunning a call without a result runs as long as its task
 * @property {() => boolean} showsWaterfall
 * @property {() => { start: number, end: number }} timeAxis Unix milliseconds
 * @property {(event: TaskEvent) => string} routeOf
 * @property {(step: Step) => NestedSteps | undefined} nestedOf
 * @property {(turn: Turn) => void} toggleTurn
 * @property {(step: Step) => void} toggleNested
 */

/**
 * @param {{ tokens_in: number, tokens_out: number }} usage
 * @returns {string[]}
 */
const tokenFigures = ({ tokens_in, tokens_out }) =>
  tokens_in || tokens_out ? [formatCount(tokens_in) + ' in', formatCount(tokens_out) + ' out'] : [];

function TurnErrors() {
  const root = element('span.errors');
  return { root, set: (/** @type {number} */ count) => setText(root, pluralize(count, 'error')) };
}

/**
 * A turn on one line, which shows and hides its steps.
 * @param {() => void} onclick
 */
function TurnHeader(onclick) {
  const label = element('b');
  const calls = element('span');
  const usage = element('span');
  const errors = LazyPart(TurnErrors, part => calls.after(part));
  const root = element('button.turn-header', { type: 'button', onclick }, label, calls, usage);
  return {
    root,
    /** @param {Turn} turn */
    set(turn) {
      const duration = formatDuration((turn.end - turn.start) / 1e3);
      const figures = [...tokenFigures(turn), turn.cost ? formatMoney(turn.cost) : '', duration].filter(Boolean);
      setAttribute(root, 'aria-expanded', String(turn.isOpen));
      setText(label, 'Turn ' + turn.number);
      setTextOrHide(calls, turn.calls ? pluralize(turn.calls, 'call') : '');
      errors.set(turn.errors || undefined);
      setTextOrHide(usage, figures.join(', '));
    }
  };
}

/**
 * The line below a call that shows and hides the steps of its subagent.
 * @param {() => void} onclick
 */
function NestedToggle(onclick) {
  const root = element('button.nested-steps', { type: 'button', onclick });
  return {
    root,
    /** @param {NestedSteps} steps */
    set(steps) {
      setAttribute(root, 'aria-expanded', String(steps.isOpen));
      setText(root, [pluralize(steps.count, 'nested step'), ...tokenFigures(steps)].join(', '));
    }
  };
}

/** @param {StepContext} context */
export function StepRow(context) {
  const timeLink = element('a.gutter');
  const line = drawnPath();
  const lane = drawing('lane', '100 10', '', line);
  const root = element('div.step', timeLink, lane);
  /** @type {Step | undefined} */
  let shown;
  const insert = (/** @type {HTMLElement} */ part) => lane.before(part);
  const header = LazyPart(() => TurnHeader(() => shown?.turn && context.toggleTurn(shown.turn)), insert);
  const call = LazyPart(ToolCall, insert);
  const text = LazyPart(StepText, insert);
  const nestedToggle = LazyPart(
    () => NestedToggle(() => shown && context.toggleNested(shown)),
    part => root.append(part)
  );

  /**
   * @param {Step} step
   * @param {Step | undefined} previous
   */
  function set(step, previous) {
    const { event, turn } = step;
    const type = turn ? 'turn' : event.stream_type;
    const isTool = TOOL_STEPS.has(type);
    shown = step;
    step.running = isTool && !endEvent(step) && context.isTaskRunning();
    setTime(event, previous?.event);
    setAttribute(root, 'data-type', type);
    setAttribute(root, 'data-depth', step.depth || null);
    root.style.setProperty('--indent', step.depth * 1.4 + 'rem');
    setAttribute(root, 'data-tone', turn ? (turn.errors ? 'bad' : 'turn') : stepTone(step));
    const endedAt = endTime(step, isTool);
    if (context.showsWaterfall()) setAttribute(line, 'd', linePath(event.created_at, endedAt));
    header.set(turn);
    call.set(isTool ? { step, seconds: (endedAt - event.created_at) / 1e3 } : undefined);
    text.set(isTool || turn ? undefined : event);
    nestedToggle.set(isTool ? context.nestedOf(step) : undefined);
  }

  /**
   * @param {TaskEvent} event
   * @param {TaskEvent | undefined} previous
   */
  function setTime(event, previous) {
    const time = formatTime(event.created_at);
    const isSame = previous && formatTime(previous.created_at) === time;
    setText(timeLink, isSame ? '·' : time);
    setAttribute(timeLink, 'href', context.routeOf(event));
    setAttribute(timeLink, 'aria-label', 'Link to the step at ' + time);
  }

  /**
   * @param {Step} step
   * @param {boolean} isTool
   */
  function endTime(step, isTool) {
    if (step.turn) return step.turn.end;
    const end = endEvent(step);
    if (end) return end.created_at;
    if (!isTool) return step.event.created_at;
    return step.running ? Date.now() : context.timeAxis().end;
  }

  /**
   * Returns the path of a step on the time axis.
   * @param {number} startedAt
   * @param {number} endedAt
   */
  function linePath(startedAt, endedAt) {
    const axis = context.timeAxis();
    const span = Math.max(1, axis.end - axis.start);
    const x = (/** @type {number} */ ms) => Math.max(0, Math.min(100, (100 * (ms - axis.start)) / span));
    const start = x(startedAt);
    return `M${start.toFixed(2)} 5H${Math.max(start + 0.4, x(endedAt)).toFixed(2)}`;
  }

  return { root, set };
}
