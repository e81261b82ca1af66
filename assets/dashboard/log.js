// The messages of a thread or the steps of a task that are here: in order, none missing
// between them. The last is the newest, unless this is a window further back (`apart`).
// A tool's result joins the row of its call; what a subagent does stands under its caller.
// Pure data: reading more is sync.js's business, showing it that of Log (dom.js).

const MOST = 5000;
let serial = 0;

/** How each kind is read, what puts its rows in order, and whether that has no gaps. */
const KINDS = {
  threads: { path: '/messages', before: 'before_seq', after: 'from_seq', at: m => m.message_seq, dense: true },
  tasks: { path: '/events', before: 'before', after: 'after', at: e => e.id }
};

/** rows: { e, result?, depth, v }, `v` changes when one must be drawn again; `base` is the
 *  number of the first since it was read, `gen` changes when it starts anew, `all`: nothing
 *  is before them, `keep`: the first that is being looked at. */
export const newLog = (kind, id) => ({
  kind,
  id,
  ...KINDS[kind],
  rows: Object.assign([], { base: 0, gen: ++serial, all: false, apart: false, keep: 1e15 }),
  first: 0,
  last: 0,
  calls: new Map(),
  depths: new Map(),
  pending: [],
  loading: true,
  error: ''
});

/** One more at the end; `paged` if it was asked for. False: something before it is missing. */
export function put(log, e, paged) {
  const { rows, last } = log,
    at = log.at(e);
  if (at <= last || (rows.apart && !paged)) return true;
  if (log.dense && last && at > last + 1 && !paged) return false;
  log.last = at;
  pair(log.calls, log.depths, rows, e);
  if (rows.length > MOST + 1000 && rows.keep > rows.base + 1100) {
    rows.splice(0, 1000);
    rows.base += 1000;
    rows.all = false;
  }
  cut(log);
  return true;
}
/** What is being read stays: the newest go, and are read again later. */
function cut(log) {
  const { rows } = log;
  if (rows.length > 3 * MOST) {
    rows.length = 2 * MOST;
    rows.apart = true;
    log.last = log.at(rows.at(-1).e);
  }
  log.first = log.at(rows[0].e);
}
/** A page of older ones, ascending, before the first. */
export function putBefore(log, items) {
  if (!items.length) return;
  const calls = new Map(),
    rows = [],
    now = log.rows;
  for (const e of items) pair(calls, log.depths, rows, e);
  // Results whose call stood on this page, steps whose caller did.
  for (let i = 0; i < now.length; i++) {
    const row = now[i],
      call = row.e.stream_type === 'tool_result' && calls.get(keyOf(row.e));
    if (call && !call.result) {
      join(call, row.e);
      now.splice(i--, 1);
      now.base++;
    } else nest(row, log.depths);
  }
  now.unshift(...rows);
  now.base -= rows.length;
  cut(log);
}

const keyOf = e => e.call_id || 'tool ' + e.tool_name;
function join(call, e) {
  call.result = e;
  call.v = ++serial;
  call.ticking = false;
}
function nest(row, depths) {
  const { e } = row,
    up = e.parent_call_id;
  const depth = up ? Math.min(4, (depths.get(up) || 0) + 1) : 0;
  if (row.depth !== depth) {
    row.depth = depth;
    row.v = ++serial;
  }
  if (e.call_id && e.stream_type === 'tool_use') depths.set(e.call_id, row.depth);
}
function pair(calls, depths, rows, e) {
  const call = e.stream_type === 'tool_result' && calls.get(keyOf(e));
  if (call?.result?.id === e.id) return;
  if (call && !call.result) return join(call, e);
  const row = { e };
  nest(row, depths);
  rows.push(row);
  if (e.stream_type === 'tool_use') calls.set(keyOf(e), row);
  for (const m of [calls, depths]) if (m.size > 500) m.delete(m.keys().next().value);
}
