// The state of the page, how an event changes it, and when the views render.
// An event costs O(1); views read the state once per animation frame. Its size is bounded:
// timelines are kept for the threads and tasks last opened, mail for the mailboxes that were opened.
// Data that is missing is requested through `refresh`, whose functions sync.js sets.

import { loadSetting, saveSetting } from './storage.js';
import { newTimeline, append } from './timeline.js';
import { HUMAN, isByPerson } from './authors.js';

export const state = {
  /** `at`: the time of the last frame from the hub, or of the next attempt to connect. */
  connection: { state: 'connecting', at: 0 },
  locked: false,
  /** Why the last link did not unlock the page. */
  unlockError: '',
  /** 0, or 1 plus the number of events since the person paused. */
  paused: 0,
  /** The hub's /api/status. */
  status: null,
  /** The hub's /api/totals: it counts all rows, the page has only the newest. */
  totals: null,
  /** The hub's /api/wake, with the agents by name: which mail wakes idle agents, and which agents can be woken. */
  wake: null,
  notice: '',
  /** Only rows written after this time count for the latency: the connection did not exist before. */
  measureLatencyFrom: Infinity
};

/** status, agents, telemetry, mailboxes, tasks, totals, costs, wake, timeline(timeline): request what the events do not carry. */
export const refresh = {};

const MAX_FEED = 300;
const MAX_MAIL = 2000;
const MAX_TIMELINES = 8;
const LATENCY_SAMPLES = 200;
const DAY_MS = 864e5;
/** A running session or task without activity for this long counts as idle. */
const RUNNING_TIMEOUT_MS = 3e5;
/** Milliseconds between two renderings of parts that cost more than O(1). */
const RENDER_INTERVAL_MS = 250;
/** Number of samples in an activity chart. */
const SAMPLES = 60;
const SECONDS_PER_ACTIVITY_SAMPLE = 5;
/** Threads and tasks that are kept, not counting those that were loaded by scrolling. */
export const KEPT_ITEMS = 2000;

// ---- rendering: at most once per frame ----

let changed = new Set();
let renderer;
let frame = 0;
let lastFeedKey = 0;
/** Sets the function that renders the page; it gets the set of changed topics. */
export const setRenderer = render => {
  renderer = render;
};

/** Renders in the next frame. The topic 'all' means a change of route or a new snapshot. */
export function invalidate(topic) {
  changed.add(topic);
  frame ||= requestAnimationFrame(() => {
    const topics = changed;
    frame = 0;
    changed = new Set();
    renderer(topics);
  });
}

/** Drops everything that comes from the database. */
export function reset() {
  Object.assign(state, {
    loaded: false,
    totals: null,
    wake: null,
    threads: new Map(),
    tasks: new Map(),
    agents: new Map(),
    telemetry: new Map(),
    mailboxes: new Map(),
    timelines: new Map(),
    commands: new Map(),
    /** Agent → its last task event. */
    lastEvents: new Map(),
    /** Agent → events in each of the last 60 intervals of 5 s. */
    activity: new Map(),
    /** Questions to the person in threads, by message id. */
    questions: new Map(),
    /** Ids of messages to everyone that the person has read. */
    readBroadcasts: new Map(),
    feed: [],
    latencies: [],
    /** Threads and tasks loaded by scrolling, which are kept in addition. */
    extraItems: 0
  });
  invalidate('all');
}
reset();

let renderTimer = 0;
/** Renders again after RENDER_INTERVAL_MS. */
export function renderLater() {
  renderTimer ||= setTimeout(() => {
    renderTimer = 0;
    invalidate('tick');
  }, RENDER_INTERVAL_MS + 10);
}

/**
 * Returns a function that returns the list built by `build`. The list is rebuilt if `topic` changed, at most every
 * RENDER_INTERVAL_MS, and not while `inUse`: rows must not move under the pointer.
 */
export function throttledList(topic, build) {
  let list = [];
  let builtAt = -Infinity;
  let isStale = true;
  return (topics, inUse) => {
    const now = performance.now();
    const isNewRoute = topics.has('all');
    if (topics.has(topic) || isNewRoute) isStale = true;
    if (isStale && !(inUse && list.length) && (isNewRoute || now - builtAt > RENDER_INTERVAL_MS)) {
      list = build();
      builtAt = now;
      isStale = false;
    }
    if (isStale) renderLater();
    return list;
  };
}

/** Events in each of the last 60 seconds, oldest first; the last second is incomplete. */
export const eventRates = new Array(SAMPLES).fill(0);
let seconds = 0;
let nextLatencySample = 0;
export function onSecond() {
  eventRates.shift();
  eventRates.push(0);
  seconds++;
  if (seconds % SECONDS_PER_ACTIVITY_SAMPLE === 0) {
    for (const samples of state.activity.values()) {
      samples.shift();
      samples.push(0);
    }
  }
  // No event reports a changed status or label, or an agent that only reads.
  if (seconds % 3 === 0 && !document.hidden) refresh.agents();
  if (readMarksChanged) saveSetting('seen', [readMarksEpoch, [...readMarks].slice(-KEPT_ITEMS)]);
  readMarksChanged = false;
  invalidate('tick');
}

// ---- how far the person has read each thread ----

const readMarks = new Map();
let readMarksEpoch;
let readMarksChanged = false;

/** Loads the read marks of a database. Another database has another epoch and numbers its messages itself. */
export function loadReadMarks(epoch) {
  const [savedEpoch, marks] = loadSetting('seen') || [];
  readMarks.clear();
  readMarksEpoch = epoch;
  if (savedEpoch === epoch) for (const [threadId, seq] of marks) readMarks.set(threadId, seq);
}

export function markThreadRead(threadId, seq) {
  if (!(readMarks.get(threadId) >= seq)) {
    readMarks.set(threadId, seq);
    readMarksChanged = true;
    invalidate('threads');
  }
}

export const unreadCount = thread => Math.max(0, thread.last_seq - (readMarks.get(thread.id) || 0));

// ---- timelines ----

/** Returns the timeline of a thread or task. Creates it if it is not in memory. */
export function openTimeline(kind, id) {
  const { timelines } = state;
  const key = kind + '/' + id;
  const timeline = timelines.get(key) || newTimeline(kind, id);
  // A Map keeps the order of insertion: the first is the least recently opened.
  timelines.delete(key);
  timelines.set(key, timeline);
  if (timelines.size > MAX_TIMELINES) timelines.delete(timelines.keys().next().value);
  return timeline;
}

/** Drops the oldest threads or tasks above the limit, but none that is running or open. */
function evictOldest(kind) {
  const items = state[kind];
  const batch = 200;
  if (items.size < KEPT_ITEMS + state.extraItems + batch) return;
  const oldest = [...items]
    .filter(([id, item]) => item.status !== 'running' && !state.timelines.has(kind + '/' + id))
    .sort(([, a], [, b]) => a.updated_at - b.updated_at);
  for (const [id] of oldest.slice(0, batch)) items.delete(id);
}

/** Adds an event to the timeline of its thread or task if that is kept. */
function addToTimeline(kind, id, event) {
  const timeline = state.timelines.get(kind + '/' + id);
  if (timeline) {
    if (timeline.busy || timeline.loading) timeline.pending.push(event);
    else if (!append(timeline, event)) refresh.timeline(timeline);
  }
  invalidate('timeline');
}

// ---- events ----

export function applyEvent(event) {
  const data = event.data || {};
  const time = data.created_at || event.timestamp;
  eventRates[SAMPLES - 1]++;
  if (state.paused) state.paused++;
  if (Date.now() > state.measureLatencyFrom && time) {
    state.latencies[nextLatencySample++ % LATENCY_SAMPLES] = Date.now() - time;
  }
  EVENT_HANDLERS[event.type]?.(data, time);
}
const EVENT_HANDLERS = {
  message: putMessage,
  batch: data => data.messages.forEach(putMessage),
  thread_state: data => putThread({ ...data, id: data.thread_id }),
  inbox_message: putMail,
  telemetry: putTelemetry,
  task_stream: putTaskEvent
};

function addToFeed(type, time, row) {
  state.feed.unshift({ key: ++lastFeedKey, type, time, row });
  if (state.feed.length > MAX_FEED) state.feed.length = MAX_FEED;
  invalidate('feed');
}

/** Adds rows written before the page opened below the others in the feed: [type, row]. */
export function addOlderToFeed(typedRows) {
  const entries = typedRows.map(([type, row]) => ({ key: -++lastFeedKey, type, time: row.created_at, row }));
  state.feed.push(...entries.sort((a, b) => b.time - a.time));
  invalidate('feed');
}

/** Records activity of an agent. */
function noteActivity(agentId, time) {
  if (!agentId || agentId === HUMAN) return;
  if (state.loaded) {
    if (!state.activity.has(agentId)) state.activity.set(agentId, new Array(SAMPLES).fill(0));
    state.activity.get(agentId)[SAMPLES - 1]++;
  }
  const agent = state.agents.get(agentId);
  if (!agent) {
    state.agents.set(agentId, { id: agentId, last_active_at: time });
    refresh.agents();
  } else if (time > agent.last_active_at) {
    agent.last_active_at = time;
  }
  invalidate('agents');
}

export function putAgent(row) {
  const known = state.agents.get(row.id);
  const lastKnown = known?.last_active_at || 0;
  // A session may begin or end without an event.
  if (known?.status !== row.status || row.last_active_at > lastKnown) refresh.wake();
  const last_active_at = Math.max(row.last_active_at, lastKnown);
  state.agents.set(row.id, { ...row, last_active_at });
  invalidate('agents');
}

export function putThread(row) {
  const { threads } = state;
  let thread = threads.get(row.id);
  if (!thread) {
    refresh.totals();
    // `fedSeq`: the last message that is in the feed. The messages of a row from HTTP are not new.
    const fedSeq = row.created_at ? row.last_seq : 0;
    thread = { title: '', status: 'active', last_seq: 0, updated_at: 0, fedSeq };
    threads.set(row.id, thread);
    evictOldest('threads');
  }
  // thread_state events may be coalesced and arrive after newer messages: these two only grow.
  const last_seq = Math.max(thread.last_seq, row.last_seq || 0);
  const updated = row.updated_at || 0;
  const updated_at = Math.max(thread.updated_at, typeof updated === 'string' ? Date.parse(updated) || 0 : updated);
  Object.assign(thread, row, { last_seq, updated_at });
  invalidate('threads');
  return thread;
}

export function putMessage(message) {
  const time = message.created_at;
  const thread = putThread({ id: message.thread_id, last_seq: message.message_seq, updated_at: time });
  if (message.message_seq > thread.fedSeq) {
    thread.fedSeq = message.message_seq;
    thread.preview = message;
    if (!isByPerson(message)) noteActivity(message.from_id, time);
    trackQuestion(message);
    addToFeed('message', time, message);
  }
  addToTimeline('threads', message.thread_id, message);
}

// ---- mail ----
// A mailbox has an inbox's name, or is a query: '*' is all mail, '>name' is what that name has sent.

export function openMailbox(name) {
  const { mailboxes } = state;
  if (!mailboxes.has(name)) mailboxes.set(name, { name, unread: 0, rows: null, next: null });
  return mailboxes.get(name);
}

function belongsTo(mailboxName, mail) {
  if (mailboxName === '*') return true;
  if (mailboxName[0] === '>') return mail.from_agent === mailboxName.slice(1);
  return mailboxName === mail.to_inbox || mail.to_inbox === 'all';
}

/** Mail to everyone is one row with one status; whether the person has read it is kept in `readBroadcasts`. */
export const withPersonalStatus = mail =>
  mail.to_inbox === 'all' && mail.status === 'unread' && state.readBroadcasts.has(mail.id)
    ? { ...mail, status: 'read' }
    : mail;

export function putMail(row) {
  const mail = withPersonalStatus(row);
  for (const mailbox of state.mailboxes.values()) {
    if (!mailbox.rows || !belongsTo(mailbox.name, mail)) continue;
    // Rows that the person did not write have no `verified`.
    mailbox.rows.set(mail.id, { ...mailbox.rows.get(mail.id), ...mail, verified: mail.verified });
    if (mailbox.rows.size > MAX_MAIL) {
      mailbox.rows.delete(mailbox.rows.keys().next().value);
      mailbox.hasMoreUnread = true;
    }
  }
  openMailbox(mail.to_inbox);
  noteActivity(mail.from_agent, mail.created_at);
  // The row is sent again when its status changes: that is not new mail.
  if (mail.status === 'unread' && !state.feed.some(entry => entry.row.id === mail.id)) {
    addToFeed('mail', mail.created_at, mail);
  }
  refresh.mailboxes();
  refresh.totals();
  refresh.wake();
  invalidate('inbox');
}

/** Returns the mail of a mailbox, newest first. */
export function mailIn(name) {
  const rows = state.mailboxes.get(name)?.rows;
  if (!rows) return [];
  const now = Date.now();
  return [...rows.values()]
    .filter(mail => mail.status !== 'deleted' && !(mail.expires_at && mail.expires_at < now))
    .sort((a, b) => b.created_at - a.created_at);
}

const isClaimedByAgent = mail => mail.claimed_by && mail.claimed_by !== HUMAN && mail.claim_expires_at > Date.now();
/** Returns whether mail is unread and not claimed by an agent. */
export const isPending = mail => mail.status === 'unread' && !isClaimedByAgent(mail);
/** Returns the pending mail to the person, as far as the page has it. */
export const pendingMail = () => mailIn(HUMAN).filter(isPending);

// ---- numbers of all rows ----
// A number of loaded rows is exact, and changes at once, if all rows are loaded. Otherwise the hub's number counts.

/** Returns the number of pending mail to the person. */
export function pendingMailCount() {
  const loaded = pendingMail().length;
  return state.mailboxes.get(HUMAN)?.hasMoreUnread ? Math.max(loaded, state.totals?.unread || 0) : loaded;
}

/** Returns the number of threads. */
export const threadCount = () => Math.max(state.threads.size, state.totals?.threads || 0);

/** Returns the number of tasks in a field of the hub's totals; `test` selects the same ones of the loaded tasks. */
export function taskCount(field, test = () => true) {
  const all = state.totals?.tasks;
  if (all?.total > state.tasks.size) return all[field];
  return [...state.tasks.values()].filter(test).length;
}
export const hasStatus = status => task => task.status === status;

// ---- what needs the person ----

/** A question to the person in a thread is pending until the person reads it or writes to the thread. */
export function trackQuestion(message) {
  const { questions } = state;
  if (isByPerson(message)) {
    for (const [id, question] of questions) {
      if (question.thread_id === message.thread_id && question.message_seq < message.message_seq) questions.delete(id);
    }
  }
  if (message.kind === 'question' && message.to_id === HUMAN) questions.set(message.id, message);
}

/** Returns the pending questions in the shape of mail. */
const pendingQuestions = () =>
  [...state.questions.values()]
    .filter(message => !((readMarks.get(message.thread_id) || 0) >= message.message_seq))
    .map(message => ({
      ...message,
      from_agent: message.from_id,
      title: message.subject || message.content,
      payload: message.content,
      message_type: 'question',
      status: 'unread'
    }));

/** The totals in telemetry rows that are added up per agent. */
export const TOTALS = ['turns', 'tokens_in', 'tokens_out', 'cost'];

/** Adds up the running totals of an agent's sessions in the last 24 hours; the Costs view has the rest. */
function addSession(usage, session, now) {
  if (session.at > now - DAY_MS) {
    for (const field of TOTALS) usage[field] = (usage[field] || 0) + (session[field] || 0);
  }
  if (session.at >= usage.at) Object.assign(usage, { at: session.at, status: session.status, model: session.model });
}

function agentStatus({ row, usage, task, lastEvent, at }, now, dismissedAt) {
  const isRunning = (item, time) => item?.status === 'running' && now - time < RUNNING_TIMEOUT_MS;
  const taskFailed = /^(failed|error)$/.test(task?.status) && task.updated_at >= at - 1000;
  if (now - at < DAY_MS && !(dismissedAt >= at)) {
    if (row.status === 'error' || usage?.status === 'error' || taskFailed) return 'error';
    if (task?.status === 'waiting') return 'waiting';
  }
  if (row.status === 'gone') return 'idle';
  const isInToolCall = task?.status === 'running' && lastEvent?.stream_type === 'tool_use';
  const isWorking =
    row.status === 'running' || isRunning(usage, usage?.at) || isRunning(task, task?.updated_at) || isInToolCall;
  return isWorking ? 'working' : 'idle';
}

/**
 * Returns a summary of each agent, sorted by id: { row, at (time of its last activity), usage (totals and last session),
 * task (its last), lastEvent, status ('working', 'idle', 'waiting' or 'error'), unread }.
 */
export function summarizeAgents() {
  const now = Date.now();
  const summaries = new Map();
  for (const row of state.agents.values()) {
    if (row.id !== HUMAN) summaries.set(row.id, { row, at: row.last_active_at });
  }
  for (const session of state.telemetry.values()) {
    const id = session.agent_id || session.instance_id;
    const summary = summaries.get(id) || { row: { id }, at: 0 };
    addSession((summary.usage ||= { at: 0 }), session, now);
    summary.at = Math.max(summary.at, session.at);
    summaries.set(id, summary);
  }
  const lastTasks = new Map();
  for (const task of state.tasks.values()) {
    if (!(lastTasks.get(task.agent_id)?.updated_at > task.updated_at)) lastTasks.set(task.agent_id, task);
  }
  const dismissed = loadSetting('hushed') || {};
  for (const [id, summary] of summaries) {
    summary.task = lastTasks.get(id);
    summary.lastEvent = state.lastEvents.get(id);
    summary.status = agentStatus(summary, now, dismissed[id]);
    if (summary.status === 'idle') summary.lastEvent = null;
    summary.unread = state.mailboxes.get(id)?.unread;
  }
  return [...summaries.values()].sort((a, b) => (a.row.id < b.row.id ? -1 : 1));
}

/** Records that the person has seen that this agent failed or waits. */
export function dismissAgent(summary) {
  saveSetting('hushed', { ...loadSetting('hushed'), [summary.row.id]: summary.at });
  invalidate('all');
}

/** Returns what needs the person, as shown on Now, in the title, the icon and the sidebar. */
export function needsAttention(agents = summarizeAgents()) {
  const questions = pendingQuestions();
  const requests = [...pendingMail(), ...questions];
  const troubled = agents.filter(agent => agent.status === 'error' || agent.status === 'waiting');
  return {
    requests,
    troubled,
    requestCount: pendingMailCount() + questions.length,
    count: pendingMailCount() + questions.length + troubled.length
  };
}

// ---- telemetry and tasks ----

export function putTelemetry(row, time) {
  const session = { ...state.telemetry.get(row.instance_id), ...row, at: time };
  state.telemetry.set(row.instance_id, session);
  if (!session.agent_id) refresh.telemetry();
  refresh.costs();
  noteActivity(session.agent_id, time);
  invalidate('agents');
}

export const isFailure = status => /^(failed|error)$/.test(status);
/** Returns whether the hub counts the event among the errors of its task. */
const isErrorEvent = ({ stream_type, error_msg, status }) =>
  stream_type === 'error' || (stream_type === 'tool_result' && (!!error_msg || isFailure(status)));

function putTaskEvent(row, time) {
  const id = row.task_id;
  const event = { ...row, created_at: time };
  const type = event.stream_type;
  let task = state.tasks.get(id);
  if (!task) {
    task = { task_id: id, started_at: time, updated_at: 0, last_id: 0, turns: 0, errors: 0 };
    state.tasks.set(id, task);
    evictOldest('tasks');
    // It may have earlier events, which only the hub counts.
    refresh.tasks();
    refresh.totals();
  }
  if (!(event.id <= task.last_id)) {
    task.last_id = event.id || 0;
    task.updated_at = time;
    task.last_type = type;
    task.turns = Math.max(task.turns, event.turn_num || 0);
    for (const field of ['agent_id', 'workspace', 'directive', 'model']) if (event[field]) task[field] = event[field];
    if (type === 'status' && event.status) task.status = event.status;
    if (isErrorEvent(event)) task.errors++;
    inferTaskStatus(task);
  }
  // The hub adds up tokens and cost: they are requested when a turn or the task ends.
  if (type === 'turn_end' || type === 'status' || type === 'error') refresh.tasks();
  // A session that works is not woken.
  if (/^turn_|^status/.test(type)) refresh.wake();
  if (type === 'status' || task.status === 'waiting') refresh.totals();
  event.agent_id ||= task.agent_id;
  if (event.agent_id) state.lastEvents.set(event.agent_id, event);
  noteActivity(event.agent_id, time);
  if (!/^turn_/.test(type)) addToFeed('task', time, event);
  invalidate('tasks');
  addToTimeline('tasks', id, event);
}

/** A task without a status is running; so is one that has continued after waiting for permission. */
export function inferTaskStatus(task) {
  if (!task.status || (task.status === 'waiting' && task.last_type !== 'status')) task.status = 'running';
  return task;
}
