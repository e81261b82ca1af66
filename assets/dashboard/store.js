// The one state of the page, how an event changes it, and when to paint.
// Every event costs O(1); views read the state once per animation frame. All is bounded:
// logs are kept for the threads and tasks last opened, mail for the mailboxes opened.
// What is missing is asked for through `wants`, which sync.js fills.

import { kept, keep } from './api.js';
import { newLog, put } from './log.js';

export const state = {
  conn: { state: 'connecting', at: 0 },
  locked: false,
  paused: 0,
  status: null,
  notice: '',
  settled: 1e15
};
export const wants = {};

const FEED = 300,
  MAIL = 2000,
  OPEN = 8,
  LAGS = 200,
  DAY = 864e5,
  LATELY = 3e5;
export const KEPT = 2000;

// ---- paint: one frame, whatever came in since the last ----

let dirty = new Set(),
  painter,
  frame = 0,
  serial = 0;
export const onPaint = f => {
  painter = f;
};

export function touch(topic) {
  dirty.add(topic);
  frame ||= requestAnimationFrame(() => {
    const seen = dirty;
    frame = 0;
    dirty = new Set();
    painter(seen);
  });
}

/** All that comes from the file, before anything has come. */
export function reset() {
  for (const k of 'threads tasks agents telemetry boxes logs commands doing beats asked mine'.split(' ')) state[k] = new Map();
  Object.assign(state, { loaded: false, feed: [], lags: [], more: 0 });
  touch('all');
}
reset();

/** What is drawn four times a second at most is looked at again then. */
let timer = 0;
export function again() {
  timer ||= setTimeout(() => {
    timer = 0;
    touch('tick');
  }, 260);
}

/** A sorted list, made anew at most four times a second and never under a person's hand. */
export function ordering(topic, build) {
  let list = [],
    at = -1e9,
    stale = true;
  return (seen, held) => {
    const now = performance.now(),
      all = seen.has('all');
    if (seen.has(topic) || all) stale = true;
    if (stale && !(held && list.length) && (all || now - at > 250)) {
      list = build();
      at = now;
      stale = false;
    }
    if (stale) again();
    return list;
  };
}

/** Events in each of the last 60 seconds, oldest first; the last is still filling. */
export const rates = new Array(60).fill(0);
let ticks = 0,
  lag = 0;
export function tick() {
  rates.shift();
  rates.push(0);
  if (!(++ticks % 5))
    for (const b of state.beats.values()) {
      b.shift();
      b.push(0);
    }
  // Agents have no stream: a status, a label, a reader that never writes.
  if (!(ticks % 3) && !document.hidden) wants.agents();
  if (seen.fresh) keep('seen', [seen.epoch, [...seen].slice(-KEPT)]);
  seen.fresh = false;
  touch('tick');
}

// ---- how far each thread was read ----

const seen = new Map();
/** Another file numbers its messages anew. */
export function remember(epoch) {
  const [of, at] = kept('seen') || [];
  seen.clear();
  seen.epoch = epoch;
  if (of === epoch) for (const [id, n] of at) seen.set(id, n);
}
export function read(id, seq) {
  if (!(seen.get(id) >= seq)) {
    seen.set(id, seq);
    seen.fresh = true;
    touch('threads');
  }
}
export const unread = t => Math.max(0, t.last_seq - (seen.get(t.id) || 0));

/** Maps keep insertion order: the first is the one opened longest ago. */
export function open(kind, id) {
  const { logs } = state,
    key = kind + '/' + id,
    log = logs.get(key) || newLog(kind, id);
  logs.delete(key);
  logs.set(key, log);
  if (logs.size > OPEN) logs.delete(logs.keys().next().value);
  return log;
}
/** Beyond what is kept the oldest go, but nothing that runs or stands open. */
function room(kind) {
  const map = state[kind];
  if (map.size < KEPT + state.more + 200) return;
  const old = [...map].filter(([id, it]) => it.status !== 'running' && !state.logs.has(kind + '/' + id)).sort(([, a], [, b]) => a.updated_at - b.updated_at);
  for (const [id] of old.slice(0, 200)) map.delete(id);
}
/** A row for the log of its thread or task, if that stands open. */
function live(kind, id, e) {
  const log = state.logs.get(kind + '/' + id);
  if (log) log.busy || log.loading ? log.pending.push(e) : put(log, e) || wants.log(log);
  touch('log');
}

// ---- events ----

export function apply(ev) {
  const d = ev.data || {},
    t = d.created_at || ev.timestamp;
  rates[59]++;
  if (state.paused) state.paused++;
  // From a row's own time to this page; what was caught up after a break says nothing.
  if (Date.now() > state.settled && t) state.lags[lag++ % LAGS] = Date.now() - t;
  ON[ev.type]?.(d, t);
}
const ON = {
  message,
  batch: d => d.messages.forEach(message),
  thread_state: d => thread({ ...d, id: d.thread_id }),
  inbox_message: mail,
  telemetry,
  task_stream: step
};

function feed(type, t, row) {
  state.feed.unshift({ k: ++serial, type, t, row });
  if (state.feed.length > FEED) state.feed.length = FEED;
  touch('feed');
}
/** What was written before the page opened, under what has come since: [type, row]. */
export function before(list) {
  state.feed.push(...list.map(([type, row]) => ({ k: -++serial, type, t: row.created_at, row })).sort((a, b) => b.t - a.t));
  touch('feed');
}

function active(id, t) {
  if (!id || id === 'human') return;
  if (state.loaded) {
    if (!state.beats.has(id)) state.beats.set(id, new Array(60).fill(0));
    state.beats.get(id)[59]++;
  }
  const a = state.agents.get(id);
  if (!a) {
    state.agents.set(id, { id, last_active_at: t });
    wants.agents();
  } else if (t > a.last_active_at) a.last_active_at = t;
  touch('agents');
}

export function agent(row) {
  const at = Math.max(row.last_active_at, state.agents.get(row.id)?.last_active_at || 0);
  state.agents.set(row.id, { ...row, last_active_at: at });
  touch('agents');
}

export function thread(d) {
  const { threads } = state;
  let t = threads.get(d.id);
  if (!t) {
    // `fed`: up to which message the activity list has been told. A row from HTTP is no news.
    threads.set(d.id, (t = { title: '', status: 'active', last_seq: 0, updated_at: 0, fed: d.created_at ? d.last_seq : 0 }));
    room('threads');
  }
  // thread_state may be coalesced and come after newer messages: these two only move forward.
  const last_seq = Math.max(t.last_seq, d.last_seq || 0),
    at = d.updated_at || 0;
  Object.assign(t, d, { last_seq, updated_at: Math.max(t.updated_at, typeof at === 'string' ? Date.parse(at) || 0 : at) });
  touch('threads');
  return t;
}

export function message(m) {
  const t = m.created_at,
    th = thread({ id: m.thread_id, last_seq: m.message_seq, updated_at: t });
  if (m.message_seq > th.fed) {
    th.fed = m.message_seq;
    th.preview = m;
    if (m.from_type !== 'human') active(m.from_id, t);
    asking(m);
    feed('message', t, m);
  }
  live('threads', m.thread_id, m);
}

// ---- mail ----

export function box(name) {
  const { boxes } = state;
  if (!boxes.has(name)) boxes.set(name, { name, unread: 0, rows: null, next: null });
  return boxes.get(name);
}

/** '*' is every mailbox, '>name' what that name has sent. */
const belongs = (name, m) => name === '*' || (name[0] === '>' ? m.from_agent === name.slice(1) : name === m.to_inbox || m.to_inbox === 'all');

/** A row to everybody carries its own state; what the person has read of these is kept here. */
export const own = m => (m.to_inbox === 'all' && m.status === 'unread' && state.mine.has(m.id) ? { ...m, status: 'read' } : m);

export function mail(m) {
  m = own(m);
  for (const b of state.boxes.values()) {
    if (!b.rows || !belongs(b.name, m)) continue;
    b.rows.set(m.id, { ...b.rows.get(m.id), ...m });
    if (b.rows.size > MAIL) {
      b.rows.delete(b.rows.keys().next().value);
      b.more = true;
    }
  }
  box(m.to_inbox);
  active(m.from_agent, m.created_at);
  // The same row comes again when its state changes: that is no new mail.
  if (m.status === 'unread' && !state.feed.some(f => f.row.id === m.id)) feed('mail', m.created_at, m);
  wants.boxes();
  touch('inbox');
}

/** What a mailbox shows, newest first. */
export function letters(name) {
  const rows = state.boxes.get(name)?.rows,
    now = Date.now();
  return rows
    ? [...rows.values()].filter(m => m.status !== 'deleted' && !(m.expires_at && m.expires_at < now)).sort((a, b) => b.created_at - a.created_at)
    : [];
}
/** Unread, and nobody else has it in hand. */
export const fresh = m => m.status === 'unread' && !(m.claimed_by && m.claimed_by !== 'human' && m.claim_expires_at > Date.now());
export const waiting = () => letters('human').filter(fresh);

// ---- who needs the person ----

/** A question to the person in a thread waits until it is read or answered there. */
export function asking(m) {
  const { asked } = state;
  if (m.from_type === 'human')
    for (const [id, q] of asked) {
      if (q.thread_id === m.thread_id && q.message_seq < m.message_seq) asked.delete(id);
    }
  if (m.kind === 'question' && m.to_id === 'human') asked.set(m.id, m);
}
const questions = () =>
  [...state.asked.values()]
    .filter(m => !((seen.get(m.thread_id) || 0) >= m.message_seq))
    .map(m => ({ ...m, from_agent: m.from_id, title: m.subject || m.content, payload: m.content, message_type: 'question', status: 'unread' }));

/** One model per agent: its row, its instances' running totals added up, its last step. */
export function agents() {
  const now = Date.now(),
    all = new Map(),
    latest = new Map(),
    hushed = kept('hushed') || {};
  for (const a of state.agents.values()) if (a.id !== 'human') all.set(a.id, { a, at: a.last_active_at });
  for (const t of state.telemetry.values()) {
    // Yesterday's work is not this session's; Costs has it.
    const id = t.agent_id || t.instance_id,
      m = all.get(id) || { a: { id }, at: 0 },
      s = (m.s ||= { at: 0 });
    if (t.at > now - DAY) for (const k of SUMS) s[k] = (s[k] || 0) + (t[k] || 0);
    if (t.at >= s.at) Object.assign(s, { at: t.at, status: t.status, model: t.model });
    m.at = Math.max(m.at, t.at);
    all.set(id, m);
  }
  for (const k of state.tasks.values()) if (!(latest.get(k.agent_id)?.updated_at > k.updated_at)) latest.set(k.agent_id, k);
  for (const [id, m] of all) {
    const { a, s } = m,
      task = (m.task = latest.get(id)),
      e = (m.e = state.doing.get(id)),
      lately = (x, t) => x?.status === 'running' && now - t < LATELY;
    const bad = a.status === 'error' || s?.status === 'error' || (/^(failed|error)$/.test(task?.status) && task.updated_at >= m.at - 1000);
    m.status =
      (now - m.at < DAY && !(hushed[id] >= m.at) && (bad ? 'error' : task?.status === 'waiting' && 'waiting')) ||
      (a.status === 'running' || lately(s, s?.at) || lately(task, task?.updated_at) || (task?.status === 'running' && e?.stream_type === 'tool_use')
        ? 'working'
        : 'idle');
    if (m.status === 'idle') m.e = null;
    m.unread = state.boxes.get(id)?.unread;
  }
  return [...all.values()].sort((x, y) => (x.a.id < y.a.id ? -1 : 1));
}
export const SUMS = ['turns', 'tokens_in', 'tokens_out', 'cost'];
/** The person has seen that this agent failed or asks. */
export function hush(m) {
  keep('hushed', { ...kept('hushed'), [m.a.id]: m.at });
  touch('all');
}

/** What waits for the person: the same for Now, the title, the icon and the rail. */
export function needs(all = agents()) {
  const asks = [...waiting(), ...questions()],
    bad = all.filter(m => m.status === 'error' || m.status === 'waiting');
  return { asks, bad, n: asks.length + bad.length, more: !!state.boxes.get('human')?.more };
}

// ---- telemetry and tasks ----

export function telemetry(d, t) {
  const row = { ...state.telemetry.get(d.instance_id), ...d, at: t };
  state.telemetry.set(d.instance_id, row);
  if (!row.agent_id) wants.telemetry();
  wants.costs();
  active(row.agent_id, t);
  touch('agents');
}

function step(d, t) {
  const id = d.task_id,
    e = { ...d, created_at: t },
    type = d.stream_type;
  let k = state.tasks.get(id);
  if (!k) {
    state.tasks.set(id, (k = { task_id: id, started_at: t, updated_at: 0, last_id: 0, turns: 0, errors: 0 }));
    room('tasks');
  }
  if (!(e.id <= k.last_id)) {
    k.last_id = e.id || 0;
    k.updated_at = t;
    k.last_type = type;
    k.turns = Math.max(k.turns, e.turn_num || 0);
    for (const f of ['agent_id', 'workspace', 'directive', 'model']) if (e[f]) k[f] = e[f];
    if (type === 'status' && e.status) k.status = e.status;
    if (type === 'error') k.errors++;
    task(k);
  }
  // Sums are the hub's business: it is asked again when a turn or the task ends.
  if (type === 'turn_end' || type === 'status' || type === 'error') wants.tasks();
  e.agent_id ||= k.agent_id;
  if (e.agent_id) state.doing.set(e.agent_id, e);
  active(e.agent_id, t);
  if (!/^turn_/.test(type)) feed('task', t, e);
  touch('tasks');
  live('tasks', id, e);
}
/** Whoever goes on has got the leave it was waiting for. */
export function task(k) {
  if (!k.status || (k.status === 'waiting' && k.last_type !== 'status')) k.status = 'running';
  return k;
}
