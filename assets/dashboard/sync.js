// Keeps the store true: snapshots by HTTP, the socket's events on top, and what the
// person sends. The only module that uses both api.js and socket.js.
// While a snapshot loads, events wait: it is never older than the hello before it, so
// applying them afterwards ends at the file's state. Rows are told apart by message_seq
// and id.

import * as S from './store.js';
import { state, touch, wants } from './store.js';
import { get, post, patch, onLocked, token } from './api.js';
import { enc } from './format.js';
import { newLog, put, putBefore } from './log.js';
import * as socket from './socket.js';

const PAGE = 200,
  TOP = Number.MAX_SAFE_INTEGER;
/** A page of a log: 'before' or 'after' a place in it. */
const rowsOf = (log, way, at, limit = PAGE) => get(log.kind + '/' + enc(log.id) + log.path, { [log[way]]: at, limit });
let held = null,
  round = 0,
  caught = 0;

export function start() {
  onLocked(lock);
  socket.start({
    state(s, at = 0) {
      state.conn = { state: s, at };
      touch('conn');
    },
    ready,
    events,
    refused: lock,
    // A refused handshake looks like any other close: HTTP says whether it was the token.
    probe: () => get('status').catch(() => {}),
    lost(why) {
      notice(`Everything was read anew: ${why?.split(';')[0] || 'the hub’s file was replaced'}.`);
      S.reset();
    },
    error(e) {
      if (!e.temporary) notice(e.message || e.code);
    }
  });
  setInterval(() => document.hidden || wants.status(), 15000);
  // Without a token only a hub that wants none may be tried; HTTP knows, and locks if not.
  if (token()) socket.resume();
  else
    get('status')
      .catch(() => {})
      .then(() => state.locked || socket.resume());
}

export function unlock() {
  state.locked = false;
  touch('all');
  socket.resume();
}
function lock() {
  state.locked = true;
  socket.stop();
  touch('all');
}
export function notice(text) {
  state.notice = text;
  touch('notice');
}

function events(list) {
  caught += list.length;
  if (held) held.push(...list);
  else list.forEach(S.apply);
}

async function ready(resumed, gap) {
  state.settled = Date.now() + 2000;
  caught = 0;
  if (resumed && state.loaded) {
    // What the socket does not carry, or carries only the latest of.
    for (const k of ['status', 'agents', 'telemetry', 'boxes', 'tasks', 'costs']) wants[k]();
    state.logs.forEach(log => log.error && loadLog(log));
    if (gap > 3000)
      setTimeout(() => {
        state.back = caught;
        touch('back');
      }, 1200);
    return;
  }
  const mine = ++round;
  held = [];
  try {
    await load();
  } catch (e) {
    if (mine !== round || state.locked) return;
    notice('Loading failed: ' + e.message + ' Trying again.');
    setTimeout(() => mine === round && socket.restart(), 2000);
    return;
  }
  if (mine !== round) return;
  state.loaded = true;
  lately().catch(() => {});
  const late = held;
  held = null;
  late.forEach(S.apply);
  touch('all');
}

const SHOWN = {
  threads: S.thread,
  agents: S.agent,
  telemetry: t => S.telemetry(t, t.created_at),
  inboxes: i => Object.assign(S.box(i.inbox), { unread: i.unread }),
  tasks: t => state.tasks.has(t.task_id) || state.tasks.set(t.task_id, S.task(t))
};
const OTHERS = ['inboxes', 'agents', 'telemetry'];
const show = (what, r) => r.items.forEach(x => SHOWN[what](x));

async function load() {
  const [status, commands, mine, unread, threads, tasks, ...others] = await Promise.all([
    get('status'),
    get('commands'),
    mailbox('human'),
    mailbox('human', { status: 'unread', limit: 1000 }),
    get('threads', { limit: PAGE }),
    get('tasks', { limit: PAGE }),
    ...OTHERS.map(what => get(what))
  ]);
  for (const m of ['threads', 'tasks', 'agents', 'telemetry', 'boxes', 'doing']) state[m].clear();
  state.status = status;
  for (const c of commands.items) state.commands.set(c.name, [c.about, c.command, c.from]);
  S.remember(status.epoch);
  state.older = { threads, tasks };
  for (const what in state.older) show(what, state.older[what]);
  OTHERS.forEach((what, i) => show(what, others[i]));
  wants.costs();
  // What waits is known in full, however old it is.
  const you = S.box('human');
  fill(you, mine);
  fill(you, { items: unread.items, next: you.next });
  you.more = !!unread.next;
  state.logs.forEach(log => loadLog(log));
}

/** The last words of the busiest threads and the latest mail: Now does not open empty. */
async function lately() {
  const some = [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at).slice(0, 10);
  const busy = [...state.tasks.values()].filter(k => k.agent_id && /running|waiting/.test(k.status)).slice(0, 12);
  const [mail, steps, pages] = await Promise.all([
    get('inbox', { limit: 20 }),
    Promise.all(busy.map(k => rowsOf(newLog('tasks', k.task_id), 'before', TOP, 1))),
    Promise.all(some.map(t => rowsOf(newLog('threads', t.id), 'before', TOP, 20)))
  ]);
  steps.forEach(({ items: [e] }, i) => {
    if (e && !state.doing.has(busy[i].agent_id)) state.doing.set(busy[i].agent_id, e);
  });
  pages.forEach((r, i) => {
    some[i].preview ||= r.items.at(-1);
    r.items.forEach(S.asking);
  });
  S.before([...mail.items.map(m => ['mail', S.own(m)]), ...pages.flatMap(r => r.items.map(m => ['message', m]))]);
  touch('threads');
}

// ---- asked for by the store, each at most every so often ----

function calm(ms, f) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      if (state.loaded && !state.locked) f().catch(() => {});
    }, ms);
  };
}
wants.status = calm(0, async () => {
  state.status = await get('status');
  touch('conn');
});
for (const what of ['agents', 'telemetry']) wants[what] = calm(1000, async () => show(what, await get(what)));
wants.boxes = calm(700, async () => {
  show('inboxes', await get('inboxes'));
  touch('inbox');
});
wants.tasks = calm(3000, async () => {
  for (const t of (await get('tasks', { limit: PAGE })).items) {
    const old = state.tasks.get(t.task_id);
    // The answer may be older than events already applied: then only its sums count.
    if (!old || t.last_id >= old.last_id) state.tasks.set(t.task_id, S.task(t));
    else Object.assign(old, { tokens_in: t.tokens_in, tokens_out: t.tokens_out, cost: t.cost });
  }
  touch('tasks');
});
const midnight = () => new Date().setHours(0, 0, 0, 0);
wants.costs = calm(5000, async () => {
  state.today = (await costs('day', midnight())).items.reduce((n, i) => n + i.cost, 0);
  touch('costs');
});
wants.log = log => {
  log.timer ||= setTimeout(() => {
    log.timer = 0;
    newer(log);
  }, 250);
};

/** The next older page of something, one at a time; a failure is asked again by scrolling on. */
async function page(it, ask, put) {
  if (it.paging) return;
  it.paging = true;
  try {
    put(await ask());
  } catch {
    /* see above */
  }
  it.paging = false;
}

// ---- logs: of a thread or a task ----

export function openLog(kind, id) {
  const log = S.open(kind, id);
  if (log.loading && !log.busy && state.loaded) loadLog(log);
  return log;
}
/** Its end, or what stands before `before`: a window that may not reach the end. */
export async function loadLog(log, before = TOP) {
  log.loading = true;
  while (log.busy) await log.busy;
  Object.assign(log, newLog(log.kind, log.id));
  await readOn(log, 'before', before);
  if (log.rows.apart) newer(log);
}
/** Back to the end of one that was left further back. */
export function latest(kind, id) {
  const log = state.logs.get(kind + '/' + id);
  if (log?.rows.apart) loadLog(log);
}
export const newer = log => readOn(log, 'after', log.last);

/** Live rows wait while a page is read: a task's ids have gaps, order is all there is. */
const readOn = (log, way, at) => (log.busy ||= reading(log, way, at));
async function reading(log, way, at) {
  try {
    const { items, next } = await rowsOf(log, way, at),
      { rows } = log,
      more = next != null;
    log.error = '';
    // If there are too many the end is let go: what follows would leave a hole.
    const cut = items.some(e => {
      put(log, e, true);
      return log.last < log.at(e);
    });
    if (way === 'before') {
      rows.all = !more;
      rows.apart = at < TOP;
    } else if (rows.apart) rows.apart = more || cut;
    else if (more) wants.log(log);
  } catch (e) {
    if (e.status !== 404) log.error = e.message;
  }
  const first = log.loading;
  log.busy = null;
  log.loading = false;
  for (const e of log.pending.splice(0)) put(log, e) || wants.log(log);
  touch(first ? 'all' : 'log');
}

export function olderRows(log) {
  const { rows, first } = log;
  if (!rows.all && first)
    page(
      rows,
      () => rowsOf(log, 'before', first),
      ({ items, next }) => {
        touch('log');
        // The first may have been let go meanwhile.
        if (rows !== log.rows || first !== log.first) return;
        rows.all = next == null;
        putBefore(log, items);
      }
    );
}

// ---- threads and tasks ----

/** The next page of a list: 'threads' or 'tasks'. */
export function older(what) {
  const o = state.older?.[what];
  if (o?.next)
    page(
      o,
      () => get(what, { limit: PAGE, before: o.next }),
      r => {
        state.more += r.items.length;
        show(what, r);
        o.next = r.next;
        touch(what);
      }
    );
}
/** What a person looks for may be further back: pages follow until `KEPT` are here. True: there is more. */
export function seek(what) {
  const next = state.older?.[what].next;
  if (next && state[what].size < S.KEPT) older(what);
  return !!next;
}

export const say = async (id, body) => S.message(await post('threads/' + enc(id) + '/messages', body));

// ---- mail ----

const mailbox = (name, q) => get('inbox', { ...(name[0] === '>' ? { from: name.slice(1) } : name !== '*' && { inbox: name }), limit: PAGE, ...q });

/** Newest first on the wire; the map is oldest first, so that its cap drops the oldest. */
function fill(b, r) {
  // The person's own mailbox says what the person has read.
  if (b.name === 'human') for (const m of r.items) if (m.to_inbox === 'all' && m.status === 'read') state.mine.set(m.id, 1);
  b.rows = new Map([...r.items.reverse().map(m => [m.id, S.own(m)]), ...(b.rows || [])]);
  b.next = r.next;
  b.filled = true;
  touch('all');
}
export function openBox(name) {
  const b = S.box(name);
  if (b.filled || !state.loaded) return;
  b.rows ||= new Map(); // from here on live mail is kept: the answer may be older
  page(
    b,
    () => mailbox(name),
    r => fill(b, r)
  );
}
export function olderMail(name) {
  const b = S.box(name);
  if (b.next)
    page(
      b,
      () => mailbox(name, { before: b.next }),
      r => fill(b, r)
    );
}

let sure;
/** A name nobody has may be a slip: it is taken at the second try. */
export function known(name) {
  if (!name || name === 'all' || name === sure || state.agents.has(name) || state.boxes.has(name)) return;
  sure = name;
  throw new Error(`there is no agent ${name}. Send again to write to that name all the same.`);
}
export async function sendMail(body) {
  const title = [...body.payload.trim().split('\n')[0]].slice(0, 80).join('');
  const row = await post('inbox', { title, ...body });
  S.mail(row);
  return row;
}
/** Sets a letter's state: the file's own columns, seen by everybody; of mail to all, the person's own. */
export async function setMail(m, status) {
  if (m.thread_id) return S.read(m.thread_id, m.message_seq);
  const row = await patch('inbox/' + enc(m.id), { status });
  if (m.to_inbox === 'all') state.mine[status === 'unread' ? 'delete' : 'set'](m.id, 1);
  S.mail({ ...m, ...row, status });
}
/** All that is unread in a mailbox, page by page, eight at a time. */
export async function readAll(name) {
  for (let r, before; before !== null; before = r.next) {
    r = await mailbox(name, { status: 'unread', before, limit: 1000 });
    const todo = r.items,
      work = async () => {
        for (let m; (m = todo.pop());) await setMail(m, 'read');
      };
    await Promise.all(Array.from({ length: 8 }, work));
  }
  S.box(name).more = false;
}
const visit = Math.random().toString(36).slice(2);
/** An answer ends the question: it is read then. Sent twice it is one row, by its id. */
export async function answer(m, text) {
  if (m.thread_id) await say(m.thread_id, { id: visit + m.id, content: text, kind: 'result', to_id: m.from_id, reply_to: m.id });
  else {
    const id = m.status === 'unread' ? visit + m.id : undefined;
    await sendMail({ id, to_inbox: m.from_agent, payload: text, message_type: 'response', correlation_id: m.correlation_id || m.message_id });
  }
  if (m.status === 'unread') await setMail(m, 'read').catch(e => notice('Answered, but not marked as read: ' + e.message));
}
/** One letter with its receipts. */
export const letter = id => get('inbox/' + enc(id));

// ---- asked for when somebody looks ----

export const setThread = async (id, status) => S.thread(await patch('threads/' + enc(id), { status }));
export const search = q => get('search', { q, limit: 8 });
export const costs = (by, since) => get('costs', { by, since });
export async function* everyEvent(id) {
  for (let after = 0, r; after != null; after = r.next) yield* (r = await get('tasks/' + enc(id) + '/events', { after, limit: 1000 })).items;
}
