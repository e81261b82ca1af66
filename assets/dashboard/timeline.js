// A timeline: the loaded messages of one thread, or the loaded events of one task.
// Invariants: rows are ascending and none is missing between the first and the last. The last
// row is the newest of the file unless `rows.detached`. A tool's result is attached to the row
// of its call. Pure data: sync.js loads pages, timeline_view.js shows them.

const MAX_ROWS = 5000;
const TRIM_ROWS = 1000;
const MAX_TRACKED_CALLS = 500;
const MAX_DEPTH = 4;
let lastVersion = 0;

/** Per kind: the HTTP path and paging parameters, the position of an event, and whether positions have no gaps. */
const KINDS = {
  threads: {
    path: '/messages',
    beforeParam: 'before_seq',
    afterParam: 'from_seq',
    positionOf: message => message.message_seq,
    contiguous: true
  },
  tasks: { path: '/events', beforeParam: 'before', afterParam: 'after', positionOf: event => event.id }
};

/**
 * Creates an empty timeline; `kind` is 'threads' or 'tasks'.
 * A row is { event, result?, depth, version }: `version` changes when the row must be redrawn, `depth` is how deep its
 * call is nested in other calls.
 * Properties of `rows`:
 *   firstIndex: index of rows[0]; indexes keep their meaning while rows are added and removed at both ends
 *   generation: changes when the timeline is reloaded
 *   complete: no row exists before the first
 *   detached: rows exist after the last that are not loaded
 *   firstVisible: index of the first row the reader looks at; Infinity while following the end
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
  /** Positions of the first and the last row. */
  first: 0,
  last: 0,
  callRows: new Map(),
  callDepths: new Map(),
  /** Live events that arrived while a page was loading. */
  pending: [],
  loading: true,
  error: ''
});

/** Adds an event at the end. Returns false if events before it are missing. `fromPage`: it was requested, not pushed. */
export function append(timeline, event, fromPage) {
  const { rows, last } = timeline;
  const position = timeline.positionOf(event);
  if (position <= last || (rows.detached && !fromPage)) return true;
  if (timeline.contiguous && last && position > last + 1 && !fromPage) return false;
  timeline.last = position;
  addEvent(timeline.callRows, timeline.callDepths, rows, event);
  if (rows.length > MAX_ROWS + TRIM_ROWS && rows.firstVisible > rows.firstIndex + TRIM_ROWS + 100) {
    rows.splice(0, TRIM_ROWS);
    rows.firstIndex += TRIM_ROWS;
    rows.complete = false;
  }
  trimEnd(timeline);
  return true;
}

/** Drops the newest rows of a timeline that grew too long upwards: they are loaded again when needed. */
function trimEnd(timeline) {
  const { rows } = timeline;
  if (rows.length > 3 * MAX_ROWS) {
    rows.length = 2 * MAX_ROWS;
    rows.detached = true;
    timeline.last = timeline.positionOf(rows.at(-1).event);
  }
  timeline.first = timeline.positionOf(rows[0].event);
}

/** Adds a page of older events, ascending, before the first row. */
export function prepend(timeline, events) {
  if (!events.length) return;
  const callRows = new Map();
  const olderRows = [];
  const { rows, callDepths } = timeline;
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

/** Programs that send no call id are matched by the tool's name. */
const callKey = event => event.call_id || 'tool ' + event.tool_name;

function attachResult(callRow, resultEvent) {
  callRow.result = resultEvent;
  callRow.version = ++lastVersion;
  callRow.running = false;
}

function updateDepth(row, callDepths) {
  const { call_id, parent_call_id, stream_type } = row.event;
  const depth = parent_call_id ? Math.min(MAX_DEPTH, (callDepths.get(parent_call_id) || 0) + 1) : 0;
  if (row.depth !== depth) {
    row.depth = depth;
    row.version = ++lastVersion;
  }
  if (call_id && stream_type === 'tool_use') callDepths.set(call_id, row.depth);
}

/** Attaches a result to its call, or adds a row. */
function addEvent(callRows, callDepths, rows, event) {
  const call = event.stream_type === 'tool_result' && callRows.get(callKey(event));
  if (call?.result?.id === event.id) return;
  if (call && !call.result) {
    attachResult(call, event);
    return;
  }
  const row = { event };
  updateDepth(row, callDepths);
  rows.push(row);
  if (event.stream_type === 'tool_use') callRows.set(callKey(event), row);
  for (const map of [callRows, callDepths]) {
    if (map.size > MAX_TRACKED_CALLS) map.delete(map.keys().next().value);
  }
}
