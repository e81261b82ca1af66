// A timeline: the loaded messages of one thread, or the loaded events of one task.
// Invariants: rows are ascending and none is missing between the first and the last. The last row is the newest in the
// database unless `rows.detached`. A tool's result is attached to the row of its call. Pure data: sync/timelines.js loads
// pages, components/timeline_view.js shows them.

/** @import { TaskEvent, Timeline, TimelineEvents, TimelineKind, TimelineRow } from '../types.d.ts' */

const MAX_ROWS = 5000;
const TRIM_ROWS = 1000;
const MAX_TRACKED_CALLS = 500;
const MAX_DEPTH = 4;
let lastVersion = 0;

const KINDS = {
  threads: {
    path: '/messages',
    beforeParam: 'before_seq',
    afterParam: 'from_seq',
    positionOf: (/** @type {TimelineEvents['threads']} */ message) => message.message_seq,
    contiguous: true
  },
  tasks: {
    path: '/events',
    beforeParam: 'before',
    afterParam: 'after',
    positionOf: (/** @type {TimelineEvents['tasks']} */ event) => event.id
  }
};

/**
 * Creates an empty timeline.
 * @param {TimelineKind} kind
 * @param {string} id
 * @returns {Timeline<any>}
 */
export const newTimeline = (kind, id) => ({
  kind,
  id,
  ...KINDS[kind],
  rows: Object.assign([], {
    firstIndex: 0,
    generation: ++lastVersion,
    complete: false,
    detached: false,
    firstVisible: Infinity
  }),
  first: 0,
  last: 0,
  callRows: new Map(),
  callDepths: new Map(),
  pending: [],
  loading: true,
  error: ''
});

/**
 * Adds an event that the hub has pushed at the end. Returns false if events before it are missing.
 * @template E
 * @param {Timeline<E>} timeline
 * @param {E} event
 */
export function append(timeline, event) {
  const { rows, last } = timeline;
  const position = timeline.positionOf(event);
  if (position <= last || rows.detached) return true;
  if (timeline.contiguous && last && position > last + 1) return false;
  addAtEnd(timeline, event);
  return true;
}

/**
 * Adds the events of a page that was requested at the end. Returns false if the timeline has dropped its newest rows
 * because it grew too long: appending more would leave a gap.
 * @template E
 * @param {Timeline<E>} timeline
 * @param {E[]} events
 */
export function appendPage(timeline, events) {
  for (const event of events) {
    const position = timeline.positionOf(event);
    if (position > timeline.last) addAtEnd(timeline, event);
    if (timeline.last < position) return false;
  }
  return true;
}

/**
 * @template E
 * @param {Timeline<E>} timeline
 * @param {E} event
 */
function addAtEnd(timeline, event) {
  const { rows } = timeline;
  timeline.last = timeline.positionOf(event);
  addEvent(timeline.callRows, timeline.callDepths, rows, event);
  // Rows above the reader are dropped only while none of them is in sight.
  if (rows.length > MAX_ROWS + TRIM_ROWS && rows.firstVisible > rows.firstIndex + TRIM_ROWS + 100) {
    rows.splice(0, TRIM_ROWS);
    rows.firstIndex += TRIM_ROWS;
    rows.complete = false;
  }
  trimEnd(timeline);
}

/**
 * Drops the newest rows of a timeline that grew too long upwards: they are loaded again when needed.
 * @param {Timeline<any>} timeline
 */
function trimEnd(timeline) {
  const { rows } = timeline;
  if (rows.length > 3 * MAX_ROWS) {
    rows.length = 2 * MAX_ROWS;
    rows.detached = true;
    timeline.last = timeline.positionOf(rows[rows.length - 1].event);
  }
  timeline.first = timeline.positionOf(rows[0].event);
}

/**
 * Adds a page of older events, ascending, before the first row.
 * @template E
 * @param {Timeline<E>} timeline
 * @param {E[]} events
 */
export function prepend(timeline, events) {
  if (!events.length) return;
  const callRows = new Map();
  /** @type {TimelineRow<any>[]} */
  const olderRows = [];
  const { callDepths } = timeline;
  const rows = /** @type {Timeline<any>} */ (timeline).rows;
  for (const event of events) addEvent(callRows, callDepths, olderRows, event);
  // The new page may have the calls of results, and the callers of steps, that are already loaded.
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i];
    const call = row.event.stream_type === 'tool_result' && callRows.get(callKey(row.event));
    if (call && !call.result) {
      attachResult(call, row.event);
      rows.splice(i--, 1);
      rows.firstIndex++;
    } else {
      updateDepth(row, callDepths);
    }
  }
  rows.unshift(...olderRows);
  rows.firstIndex -= olderRows.length;
  trimEnd(timeline);
}

/**
 * Programs that send no call id are matched by the tool's name.
 * @param {TaskEvent} event
 */
const callKey = event => event.call_id || 'tool ' + event.tool_name;

/**
 * @param {TimelineRow<any>} callRow
 * @param {TaskEvent} resultEvent
 */
function attachResult(callRow, resultEvent) {
  callRow.result = resultEvent;
  callRow.version = ++lastVersion;
  callRow.running = false;
}

/**
 * @param {TimelineRow<any>} row
 * @param {Map<string, number>} callDepths
 */
function updateDepth(row, callDepths) {
  const { call_id, parent_call_id, stream_type } = row.event;
  const depth = parent_call_id ? Math.min(MAX_DEPTH, (callDepths.get(parent_call_id) || 0) + 1) : 0;
  if (row.depth !== depth) {
    row.depth = depth;
    row.version = ++lastVersion;
  }
  if (call_id && stream_type === 'tool_use') callDepths.set(call_id, row.depth);
}

/**
 * Attaches a result to its call, or adds a row.
 * @param {Map<string, TimelineRow<any>>} callRows
 * @param {Map<string, number>} callDepths
 * @param {TimelineRow<any>[]} rows
 * @param {any} event
 */
function addEvent(callRows, callDepths, rows, event) {
  const call = event.stream_type === 'tool_result' ? callRows.get(callKey(event)) : undefined;
  if (call?.result && call.result.id === event.id) return;
  if (call && !call.result) {
    attachResult(call, event);
    return;
  }
  const row = { event, depth: 0, version: ++lastVersion };
  updateDepth(row, callDepths);
  rows.push(row);
  if (event.stream_type === 'tool_use') callRows.set(callKey(event), row);
  dropOldest(callRows);
  dropOldest(callDepths);
}

/** @param {Map<string, unknown>} map */
function dropOldest(map) {
  if (map.size <= MAX_TRACKED_CALLS) return;
  const [oldestKey] = map.keys();
  map.delete(oldestKey);
}
