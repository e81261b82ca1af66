// The outline of a task: its turns, and which of its steps are shown. Steps of a closed turn, and those of a subagent whose
// call is closed, are not. New steps are added in O(1); the whole outline is built a few times a second.

/** @import { ShownRows, Task, TaskEvent, TimelineRow, TimelineRows, Turn } from '../../types.d.ts' */

import { isUnfinished } from '../../store/tasks.js';
import { endEvent, isErrorStep } from './step.js';

/** @typedef {TimelineRow<TaskEvent>} Step */
/**
 * The steps of a call's subagent.
 * @typedef {{ count: number, tokens_in: number, tokens_out: number, isOpen: boolean }} NestedSteps
 */
/** @typedef {{ row: Step, parent: Call | undefined, isOpen: boolean }} Call */

/** With more turns, only the last one is open at first. */
const MAX_OPEN_TURNS = 10;

export function Outline() {
  /** @type {Map<number, boolean>} What the person has opened and closed, by the turn's number. */
  const chosenTurns = new Map();
  /** @type {WeakMap<Step, boolean>} The same for the steps of subagents, by their call. */
  const chosenCalls = new WeakMap();
  /** @type {Map<number, Step>} The headers of turns, by the id of the turn's first event. */
  let headers = new Map();
  let layout = 0;

  /** @type {Turn[]} */
  let turns = [];
  /** @type {Map<string, Call>} By call id. */
  let calls = new Map();
  /** @type {Map<Step, NestedSteps>} By call. */
  let nested = new Map();
  /** @type {ShownRows<TaskEvent>} */
  let shown = emptyList();
  /** What the outline was built from: the timeline's generation, its first index, and the index after the last row. */
  let generation = 0;
  let firstIndex = 0;
  let end = 0;

  /** @returns {ShownRows<TaskEvent>} */
  function emptyList() {
    return Object.assign([], { firstIndex: 0, layout: ++layout, sources: [] });
  }

  /**
   * Adds the row after those that the outline has.
   * @param {Step} row
   * @param {number} index
   * @param {(turn: Turn) => boolean} isTurnOpen
   * @param {(row: Step) => boolean} isCallOpen
   */
  function add(row, index, isTurnOpen, isCallOpen) {
    const { event } = row;
    let turn = turns.at(-1);
    const push = (/** @type {Step} */ shownRow) => {
      shown.push(shownRow);
      shown.sources?.push(index);
    };
    if (!row.depth && event.turn_num && event.turn_num !== turn?.number) {
      turn = newTurn(event.turn_num, event);
      turn.isOpen = isTurnOpen(turn);
      turns.push(turn);
      push(headerOf(turn));
    }
    if (turn) addFigures(turn, row);
    const parent = event.parent_call_id ? calls.get(event.parent_call_id) : undefined;
    if (event.call_id && event.stream_type === 'tool_use') {
      calls.set(event.call_id, { row, parent, isOpen: isCallOpen(row) });
    }
    addNested(parent, event);
    // The header says what the row says.
    const isHeader = turn?.firstEvent === event && event.stream_type === 'turn_start';
    if (!isHeader && (!turn || turn.isOpen) && ancestorsOf(parent).every(call => call.isOpen)) push(row);
  }

  /** @param {Turn} turn */
  function headerOf(turn) {
    const header = headers.get(turn.firstEvent.id) || { event: turn.firstEvent, depth: 0, version: 0 };
    header.turn = turn;
    headers.set(turn.firstEvent.id, header);
    return header;
  }

  /** @param {Call | undefined} call */
  function ancestorsOf(call) {
    /** @type {Call[]} */
    const ancestors = [];
    for (let next = call; next && !ancestors.includes(next); next = next.parent) ancestors.push(next);
    return ancestors;
  }

  /**
   * Adds a step to the figures of the calls that it is nested in.
   * @param {Call | undefined} parent
   * @param {TaskEvent} event
   */
  function addNested(parent, event) {
    for (const { row, isOpen } of ancestorsOf(parent)) {
      const steps = nested.get(row) || { count: 0, tokens_in: 0, tokens_out: 0, isOpen };
      steps.count++;
      steps.tokens_in += event.tokens_in || 0;
      steps.tokens_out += event.tokens_out || 0;
      nested.set(row, steps);
    }
  }

  /**
   * Builds the outline. While the reader is not at the end, what is open stays open.
   * @param {TimelineRows<TaskEvent>} rows
   * @param {boolean} isRunning
   * @param {boolean} isFollowing
   */
  function build(rows, isRunning, isFollowing) {
    const wasOpen = new Set(isFollowing ? [] : turns.filter(turn => turn.isOpen).map(turn => turn.firstEvent.id));
    const formerNested = nested;
    const former = shown;
    const { count, last } = countTurns(rows);
    if (rows.generation !== generation) headers = new Map();
    turns = [];
    calls = new Map();
    nested = new Map();
    shown = emptyList();
    generation = rows.generation;
    firstIndex = rows.firstIndex;
    end = rows.firstIndex + rows.length;
    const isTurnOpen = (/** @type {Turn} */ { number, firstEvent: { id } }) =>
      chosenTurns.get(number) ?? (count <= MAX_OPEN_TURNS || id === last?.id || wasOpen.has(id));
    const isCallOpen = (/** @type {Step} */ row) =>
      chosenCalls.get(row) ?? ((isRunning && !row.result) || (!isFollowing && !!formerNested.get(row)?.isOpen));
    rows.forEach((row, i) => add(row, rows.firstIndex + i, isTurnOpen, isCallOpen));
    // The same rows are the same list: what is drawn keeps its place.
    const isSame = former.length === shown.length && former.every((row, i) => row === shown[i]);
    if (isSame) shown = Object.assign(former, { sources: shown.sources });
  }

  return {
    turns: () => turns,
    shown: () => shown,
    /** @param {Step} row */
    nestedOf: row => nested.get(row),
    build,
    /**
     * Adds the new rows at the end. Returns false if other rows have changed too: the outline must be built.
     * @param {TimelineRows<TaskEvent>} rows
     */
    append(rows) {
      const newEnd = rows.firstIndex + rows.length;
      if (rows.generation !== generation || rows.firstIndex !== firstIndex || newEnd < end) return false;
      for (; end < newEnd; end++) {
        const isTurnOpen = (/** @type {Turn} */ { number }) => chosenTurns.get(number) ?? true;
        add(rows[end - firstIndex], end, isTurnOpen, row => chosenCalls.get(row) ?? true);
      }
      return true;
    },
    /** @param {Turn} turn */
    toggleTurn: turn => chosenTurns.set(turn.number, !turn.isOpen),
    /** @param {Step} row */
    toggleNested: row => chosenCalls.set(row, !nested.get(row)?.isOpen),
    /** Opens all turns, or closes them if all are open. */
    toggleAll() {
      const isOpen = turns.some(turn => !turn.isOpen);
      for (const { number } of turns) chosenTurns.set(number, isOpen);
    },
    /** Forgets what the person has opened and closed. */
    reset: () => chosenTurns.clear(),
    /**
     * Returns the row that shows a step, after opening what the step is in. The outline must be built then.
     * @param {Step} row
     */
    reveal(row) {
      const turn = turns.findLast(({ firstEvent }) => firstEvent.id <= row.event.id);
      const parent = row.event.parent_call_id ? calls.get(row.event.parent_call_id) : undefined;
      for (const call of ancestorsOf(parent)) chosenCalls.set(call.row, true);
      if (!turn) return row;
      if (turn.firstEvent === row.event && row.event.stream_type === 'turn_start') return headerOf(turn);
      if (!turn.isOpen) chosenTurns.set(turn.number, true);
      return row;
    }
  };
}

/**
 * Returns the number of turns, and the first event of the last one.
 * @param {TimelineRows<TaskEvent>} rows
 */
function countTurns(rows) {
  let count = 0;
  /** @type {TaskEvent | undefined} */
  let last;
  for (const { depth, event } of rows) {
    if (depth || !event.turn_num || event.turn_num === last?.turn_num) continue;
    count++;
    last = event;
  }
  return { count, last };
}

/**
 * @param {number} number
 * @param {TaskEvent} event
 * @returns {Turn}
 */
const newTurn = (number, event) => ({
  number,
  firstEvent: event,
  start: event.created_at,
  end: event.created_at,
  calls: 0,
  errors: 0,
  tokens_in: 0,
  tokens_out: 0,
  cost: 0,
  isOpen: true
});

/**
 * @param {Turn} turn
 * @param {Step} row
 */
function addFigures(turn, row) {
  const { event } = row;
  turn.end = Math.max(turn.end, event.created_at, endEvent(row)?.created_at || 0);
  if (event.stream_type === 'tool_use') turn.calls++;
  if (isErrorStep(row)) turn.errors++;
  turn.tokens_in += event.tokens_in || 0;
  turn.tokens_out += event.tokens_out || 0;
  turn.cost += event.cost || 0;
}

/**
 * Returns the start and the end of the loaded steps.
 * @param {TimelineRows<TaskEvent>} rows at least one
 * @param {Task | undefined} task
 */
export function timeAxisOf(rows, task) {
  const start = rows[0].event.created_at;
  const lastTime = rows[rows.length - 1].event.created_at;
  if (rows.detached) return { start, end: lastTime };
  return { start, end: isUnfinished(task) ? Date.now() : Math.max(lastTime, task?.updated_at || 0) };
}
