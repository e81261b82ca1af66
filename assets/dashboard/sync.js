// Keeps the store up to date: snapshots over HTTP, events from the socket, and what the person
// sends. The only module that uses both api.js and socket.js.
// Events are queued while a snapshot loads. A snapshot is never older than the `hello` before it, so
// applying the events afterwards ends at the state of the database. Rows are identified by
// message_seq and id, so an event that the snapshot already contains changes nothing.

import * as store from './store.js';
import { state, invalidate, refresh } from './store.js';
import { get, post, patch, remove, exchangeCode, setUnauthorizedHandler } from './api.js';
import { savedSession, forgetSession, onSessionChange, deleteOldToken } from './session.js';
import { HUMAN } from './authors.js';
import { capitalize, startOfDay } from './format.js';
import { newTimeline, append, prepend } from './timeline.js';
import * as socket from './socket.js';

const PAGE_SIZE = 200;
/** A position after every row. */
const END = Number.MAX_SAFE_INTEGER;
const STATUS_INTERVAL_MS = 15000;
const RETRY_LOAD_MS = 2000;
/** Minimum time between two requests of what mail wakes which agents. */
const WAKE_INTERVAL_MS = 2000;
const OTHER_PROGRAM_NOTICE = `Another program answers at ${location.host}, not your hub. It was not sent this browser’s key. Retrying; agenthub status shows whether your hub runs.`;
/** A reconnect is announced if the connection was down this long. */
const ANNOUNCE_GAP_MS = 3000;

/** Events that arrived while the snapshot loads; null when none is loading. */
let heldEvents = null;
let loadNumber = 0;
let eventsSinceConnect = 0;

/** Starts the page. `code`: the one-time code of the link it was opened with, or an empty string. */
export async function start(code) {
  deleteOldToken();
  setUnauthorizedHandler(lock);
  onSessionChange(() => (savedSession() ? state.locked && unlock() : lock()));
  socket.start({
    onState(connectionState, at = 0) {
      if (connectionState === 'foreign') showNotice(OTHER_PROGRAM_NOTICE);
      if (connectionState === 'live') {
        state.unlockError = '';
        if (state.notice === OTHER_PROGRAM_NOTICE) showNotice('');
      }
      state.connection = { state: connectionState, at };
      invalidate('connection');
    },
    onReady,
    onEvents,
    onRefused: lock,
    // A refused handshake looks like any other close. An HTTP request shows whether it was the key.
    onHandshakeFailed: () => get('status').catch(() => {}),
    onPositionLost(reason) {
      // The text after the semicolon is advice for other clients.
      showNotice(`Reloaded: ${reason?.split(';')[0] || 'the database was replaced'}.`);
      store.reset();
    },
    onError(error) {
      if (!error.temporary) showNotice(error.message || error.code);
    }
  });
  setInterval(() => {
    if (document.hidden) return;
    refresh.status();
    // No event reports the start of a day, mail that expires, or pruned rows.
    refresh.totals();
  }, STATUS_INTERVAL_MS);
  // The person changes in a terminal which mail wakes agents: no event reports that.
  addEventListener('focus', () => refresh.wake());
  if (code) await useLink(code);
  // Without a key, connect only if the hub requires none: the request locks the page otherwise.
  if (!savedSession()) await get('status').catch(() => {});
  if (!state.locked) socket.resume();
}

/** Locks the page and drops the data. */
function lock() {
  if (state.locked) return;
  state.locked = true;
  // A snapshot that still loads is not shown.
  loadNumber++;
  socket.stop();
  store.reset();
}

function unlock() {
  state.locked = false;
  state.unlockError = '';
  invalidate('all');
  socket.resume();
}

/** Exchanges a one-time code for a key, with which the page opens. */
export async function unlockWith(code) {
  await exchangeCode(code);
  if (state.locked) unlock();
}

/** As unlockWith, for the code of a link that was opened. If it fails, the page goes on with the key it has. */
export async function useLink(code) {
  try {
    await unlockWith(code);
  } catch (error) {
    state.unlockError = capitalize(error.message);
    invalidate('all');
  }
}

// ---- the browsers that have a key ----

export const fetchSessions = () => get('sessions');

/** Revokes a session; that of this browser locks the page. */
export async function revokeSession({ id, current }) {
  await remove('sessions/' + encodeURIComponent(id));
  if (!current) return;
  forgetSession();
  lock();
}

export function showNotice(text) {
  state.notice = capitalize(text);
  invalidate('notice');
}

function onEvents(events) {
  eventsSinceConnect += events.length;
  if (heldEvents) heldEvents.push(...events);
  else events.forEach(store.applyEvent);
}

async function onReady(resumed, gapMs) {
  state.measureLatencyFrom = Date.now() + 2000;
  eventsSinceConnect = 0;
  if (resumed && state.loaded) {
    // Data that the socket does not send, or of which it sends only the latest value.
    for (const topic of ['status', 'agents', 'telemetry', 'mailboxes', 'tasks', 'costs', 'wake']) refresh[topic]();
    state.timelines.forEach(timeline => timeline.error && loadTimeline(timeline));
    if (gapMs > ANNOUNCE_GAP_MS) {
      setTimeout(() => {
        state.missedEvents = eventsSinceConnect;
        invalidate('reconnected');
      }, 1200);
    }
    return;
  }
  const number = ++loadNumber;
  const isCurrent = () => number === loadNumber;
  heldEvents = [];
  try {
    await loadSnapshot();
  } catch (error) {
    if (!isCurrent() || state.locked) return;
    showNotice(`Couldn’t load: ${error.message} Retrying.`);
    setTimeout(() => isCurrent() && socket.restart(), RETRY_LOAD_MS);
    return;
  }
  if (!isCurrent()) return;
  state.loaded = true;
  refresh.wake();
  loadRecentActivity().catch(() => {});
  const events = heldEvents;
  heldEvents = null;
  events.forEach(store.applyEvent);
  invalidate('all');
}

/** Per HTTP path: how an item goes into the store. */
const PUT_ITEM = {
  threads: store.putThread,
  agents: store.putAgent,
  telemetry: row => store.putTelemetry(row, row.created_at),
  inboxes: row => Object.assign(store.openMailbox(row.inbox), { unread: row.unread }),
  tasks: row => state.tasks.has(row.task_id) || state.tasks.set(row.task_id, store.inferTaskStatus(row))
};
const UNPAGED = ['inboxes', 'agents', 'telemetry'];
const putItems = (path, page) => page.items.forEach(item => PUT_ITEM[path](item));

async function loadSnapshot() {
  const [status, totals, commands, mail, unreadMail, threads, tasks, ...unpaged] = await Promise.all([
    get('status'),
    fetchTotals(),
    get('commands'),
    fetchMail(HUMAN),
    fetchMail(HUMAN, { status: 'unread', limit: 1000 }),
    get('threads', { limit: PAGE_SIZE }),
    get('tasks', { limit: PAGE_SIZE }),
    ...UNPAGED.map(path => get(path))
  ]);
  for (const name of ['threads', 'tasks', 'agents', 'telemetry', 'mailboxes', 'lastEvents']) state[name].clear();
  state.status = status;
  state.totals = totals;
  for (const command of commands.items) state.commands.set(command.name, command);
  store.loadReadMarks(status.epoch);
  state.lastPages = { threads, tasks };
  for (const path in state.lastPages) putItems(path, state.lastPages[path]);
  UNPAGED.forEach((path, i) => putItems(path, unpaged[i]));
  refresh.costs();
  // All unread mail to the person is loaded, however old it is.
  const mailbox = store.openMailbox(HUMAN);
  fillMailbox(mailbox, mail);
  fillMailbox(mailbox, { items: unreadMail.items, next: mailbox.next });
  mailbox.hasMoreUnread = !!unreadMail.next;
  state.timelines.forEach(timeline => loadTimeline(timeline));
}

/** Loads the last messages, mail and steps, so that Now does not open empty. */
async function loadRecentActivity() {
  const recentThreads = [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at).slice(0, 10);
  const activeTasks = [...state.tasks.values()]
    .filter(task => task.agent_id && /running|waiting/.test(task.status))
    .slice(0, 12);
  const [mail, taskPages, threadPages] = await Promise.all([
    get('inbox', { limit: 20 }),
    Promise.all(activeTasks.map(task => fetchRows(newTimeline('tasks', task.task_id), 'before', END, 1))),
    Promise.all(recentThreads.map(thread => fetchRows(newTimeline('threads', thread.id), 'before', END, 20)))
  ]);
  taskPages.forEach(({ items: [event] }, i) => {
    const agentId = activeTasks[i].agent_id;
    if (event && !state.lastEvents.has(agentId)) state.lastEvents.set(agentId, event);
  });
  threadPages.forEach((page, i) => {
    recentThreads[i].preview ||= page.items.at(-1);
    page.items.forEach(store.trackQuestion);
  });
  store.addOlderToFeed([
    ...mail.items.map(row => ['mail', store.withPersonalStatus(row)]),
    ...threadPages.flatMap(page => page.items.map(row => ['message', row]))
  ]);
  invalidate('threads');
}

// ---- refresh: what the store requests ----

/** Returns a function that runs `load` after `ms`; calls until then are merged into that one. */
function throttled(ms, load) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      if (state.loaded && !state.locked) load().catch(() => {});
    }, ms);
  };
}
refresh.status = throttled(0, async () => {
  state.status = await get('status');
  invalidate('connection');
});
for (const path of ['agents', 'telemetry'])
  refresh[path] = throttled(1000, async () => putItems(path, await get(path)));
refresh.mailboxes = throttled(700, async () => {
  putItems('inboxes', await get('inboxes'));
  invalidate('inbox');
});
refresh.tasks = throttled(3000, async () => {
  for (const row of (await get('tasks', { limit: PAGE_SIZE })).items) {
    const known = state.tasks.get(row.task_id);
    // The response may be older than events already applied: then only its totals are used.
    if (!known || row.last_id >= known.last_id) state.tasks.set(row.task_id, store.inferTaskStatus(row));
    else {
      const { tokens_in, tokens_out, cost } = row;
      const [turns, errors] = ['turns', 'errors'].map(field => Math.max(known[field], row[field]));
      Object.assign(known, { tokens_in, tokens_out, cost, turns, errors });
    }
  }
  invalidate('tasks');
});
const fetchTotals = () => get('totals', { since: startOfDay() });
refresh.totals = throttled(1000, async () => {
  state.totals = await fetchTotals();
  for (const topic of ['tasks', 'threads', 'inbox']) invalidate(topic);
});
refresh.costs = throttled(5000, async () => {
  const today = await fetchCosts('day', startOfDay());
  state.costToday = today.items.reduce((sum, item) => sum + item.cost, 0);
  invalidate('costs');
});

/** As throttled, but `load` runs at once if the last time is `ms` ago. */
function spaced(ms, load) {
  let startedAt = -Infinity;
  let timer = 0;
  return () => {
    timer ||= setTimeout(
      () => {
        timer = 0;
        if (!state.loaded || state.locked) return;
        startedAt = performance.now();
        load().catch(() => {});
      },
      Math.max(0, startedAt + ms - performance.now())
    );
  };
}
refresh.wake = spaced(WAKE_INTERVAL_MS, async () => {
  const wake = await get('wake');
  state.wake = { ...wake, agents: new Map(wake.agents.map(agent => [agent.agent, agent])) };
  // No event reports that a wake has failed or that the pause after one has ended. Both take half a minute at most.
  if (wake.agents.some(({ obstacle }) => /^(begun|too_soon)$/.test(obstacle))) refresh.wake();
  invalidate('agents');
});

refresh.timeline = timeline => {
  timeline.timer ||= setTimeout(() => {
    timeline.timer = 0;
    loadNewer(timeline);
  }, 250);
};

/** Loads the next page of `owner`, one at a time. Ignores failures. */
async function loadPage(owner, request, use) {
  if (owner.loadingPage) return;
  owner.loadingPage = true;
  try {
    use(await request());
  } catch {
    // The next scroll event tries again.
  }
  owner.loadingPage = false;
}

// ---- timelines ----

/** Fetches a page of rows 'before' or 'after' a position. */
function fetchRows(timeline, direction, position, limit = PAGE_SIZE) {
  const param = direction === 'before' ? timeline.beforeParam : timeline.afterParam;
  const path = timeline.kind + '/' + encodeURIComponent(timeline.id) + timeline.path;
  return get(path, { [param]: position, limit });
}

/** Loads the summary of a task that is not among the loaded ones. */
async function loadTask(id) {
  try {
    putItems('tasks', { items: [await get('tasks/' + encodeURIComponent(id))] });
    invalidate('tasks');
  } catch {
    // There is no such task yet.
  }
}

export function openTimeline(kind, id) {
  if (kind === 'tasks' && state.loaded && !state.tasks.has(id)) loadTask(id);
  const timeline = store.openTimeline(kind, id);
  if (timeline.loading && !timeline.busy && state.loaded) loadTimeline(timeline);
  return timeline;
}

/** Reloads the timeline: its end, or the rows before a position, which may not reach the end. */
export async function loadTimeline(timeline, before = END) {
  timeline.loading = true;
  while (timeline.busy) await timeline.busy;
  Object.assign(timeline, newTimeline(timeline.kind, timeline.id));
  await loadRows(timeline, 'before', before);
  if (timeline.rows.detached) loadNewer(timeline);
}

/** Reloads the end of a timeline if its last loaded row is not the newest. */
export function returnToLatest(kind, id) {
  const timeline = state.timelines.get(kind + '/' + id);
  if (timeline?.rows.detached) loadTimeline(timeline);
}

export const loadNewer = timeline => loadRows(timeline, 'after', timeline.last);

/** Loads a page, one at a time. Live events are queued meanwhile: the ids of task events have gaps, so only their order counts. */
const loadRows = (timeline, direction, position) => (timeline.busy ||= fetchAndAppend(timeline, direction, position));

async function fetchAndAppend(timeline, direction, position) {
  try {
    const { items, next } = await fetchRows(timeline, direction, position);
    const { rows } = timeline;
    const hasNext = next != null;
    timeline.error = '';
    // Stop if the timeline dropped its newest rows: appending more would leave a gap.
    const wasTrimmed = items.some(event => {
      append(timeline, event, true);
      return timeline.last < timeline.positionOf(event);
    });
    if (direction === 'before') {
      rows.complete = !hasNext;
      rows.detached = position < END;
    } else if (rows.detached) {
      rows.detached = hasNext || wasTrimmed;
    } else if (hasNext) {
      refresh.timeline(timeline);
    }
  } catch (error) {
    if (error.status !== 404) timeline.error = capitalize(error.message);
  }
  const wasFirstLoad = timeline.loading;
  timeline.busy = null;
  timeline.loading = false;
  for (const event of timeline.pending.splice(0)) if (!append(timeline, event)) refresh.timeline(timeline);
  invalidate(wasFirstLoad ? 'all' : 'timeline');
}

export function loadOlder(timeline) {
  const { rows, first } = timeline;
  if (rows.complete || !first) return;
  loadPage(
    rows,
    () => fetchRows(timeline, 'before', first),
    ({ items, next }) => {
      invalidate('timeline');
      // The timeline may have been reloaded, or have dropped its first rows, meanwhile.
      if (rows !== timeline.rows || first !== timeline.first) return;
      rows.complete = next == null;
      prepend(timeline, items);
    }
  );
}

// ---- threads and tasks ----

/** Loads the next page of 'threads' or 'tasks'. */
export function loadMoreItems(kind) {
  const lastPage = state.lastPages?.[kind];
  if (!lastPage?.next) return;
  loadPage(
    lastPage,
    () => get(kind, { limit: PAGE_SIZE, before: lastPage.next }),
    page => {
      state.extraItems += page.items.length;
      putItems(kind, page);
      lastPage.next = page.next;
      invalidate(kind);
    }
  );
}

/** Loads pages, one per call, until KEPT_ITEMS are loaded, for a search. Returns whether more exist. */
export function loadForSearch(kind) {
  const next = state.lastPages?.[kind].next;
  if (next && state[kind].size < store.KEPT_ITEMS) loadMoreItems(kind);
  return !!next;
}

export async function postMessage(threadId, body) {
  store.putMessage(await postAsPerson('threads/' + encodeURIComponent(threadId) + '/messages', body));
}

export const setThreadStatus = async (id, status) =>
  store.putThread(await patch('threads/' + encodeURIComponent(id), { status }));

// ---- mail ----

function fetchMail(mailboxName, query) {
  const filter =
    mailboxName[0] === '>' ? { from: mailboxName.slice(1) } : mailboxName !== '*' && { inbox: mailboxName };
  return get('inbox', { ...filter, limit: PAGE_SIZE, ...query });
}

/** Adds a page, which is newest first. The map is oldest first, so that its limit drops the oldest. */
function fillMailbox(mailbox, page) {
  // The person's own mailbox shows which mail to everyone the person has read.
  if (mailbox.name === HUMAN) {
    for (const mail of page.items) {
      if (mail.to_inbox === 'all' && mail.status === 'read') state.readBroadcasts.set(mail.id, 1);
    }
  }
  const older = page.items.reverse().map(mail => [mail.id, store.withPersonalStatus(mail)]);
  mailbox.rows = new Map([...older, ...(mailbox.rows || [])]);
  mailbox.next = page.next;
  mailbox.filled = true;
  invalidate('all');
}

export function openMailbox(name) {
  const mailbox = store.openMailbox(name);
  if (mailbox.filled || !state.loaded) return;
  // From here on live mail is kept: the response may be older.
  mailbox.rows ||= new Map();
  loadPage(
    mailbox,
    () => fetchMail(name),
    page => fillMailbox(mailbox, page)
  );
}

export function loadOlderMail(name) {
  const mailbox = store.openMailbox(name);
  if (!mailbox.next) return;
  loadPage(
    mailbox,
    () => fetchMail(name, { before: mailbox.next }),
    page => fillMailbox(mailbox, page)
  );
}

let confirmedName;
/** Throws the first time a name is used that no agent has: it may be a typing mistake. */
export function confirmRecipient(name) {
  const isKnown = !name || name === 'all' || state.agents.has(name) || state.mailboxes.has(name);
  if (isKnown || name === confirmedName) return;
  confirmedName = name;
  throw new Error(`no agent named “${name}” yet. Send again to write to that name anyway.`);
}

const MAX_TITLE = 80;
const HOW_TO_GET_A_KEY = 'This page has no key: run agenthub open in a terminal of your own.';
/** Writes a row as the person. The hub knows the person by the browser's key; without one it refuses the row. */
async function postAsPerson(path, body) {
  try {
    return await post(path, body);
  } catch (error) {
    throw savedSession() || error.status !== 400 ? error : new Error(`${error.message}. ${HOW_TO_GET_A_KEY}`);
  }
}

/** Sends mail; its title is the first line of the text unless `body` has one. */
export async function sendMail(body) {
  const [firstLine] = body.payload.trim().split('\n');
  const title = [...firstLine].slice(0, MAX_TITLE).join('');
  const mail = await postAsPerson('inbox', { title, ...body });
  // Its sender has read it.
  if (mail.to_inbox === 'all') state.readBroadcasts.set(mail.id, 1);
  store.putMail(mail);
  return mail;
}

/** Sets the status of mail for every reader; of mail to everyone, for the person only. */
export async function setMailStatus(mail, status) {
  if (mail.thread_id) return store.markThreadRead(mail.thread_id, mail.message_seq);
  const row = await patch('inbox/' + encodeURIComponent(mail.id), { status });
  if (mail.to_inbox === 'all') {
    if (status === 'unread') state.readBroadcasts.delete(mail.id);
    else state.readBroadcasts.set(mail.id, 1);
  }
  store.putMail({ ...mail, ...row, verified: row.verified, status });
}

const CONCURRENT_REQUESTS = 8;
/** Marks all unread mail of a mailbox as read. */
export async function markAllRead(name) {
  for (let page, before; before !== null; before = page.next) {
    page = await fetchMail(name, { status: 'unread', before, limit: 1000 });
    const remaining = page.items;
    const worker = async () => {
      for (let mail; (mail = remaining.pop());) await setMailStatus(mail, 'read');
    };
    await Promise.all(Array.from({ length: CONCURRENT_REQUESTS }, worker));
  }
  store.openMailbox(name).hasMoreUnread = false;
}

/**
 * Returns the question as the page has shown it. The proof of the answer covers it, so that the answer is not valid for
 * another question.
 */
const shownQuestion = ({ message_id, from_agent, title, payload }) => ({ message_id, from_agent, title, payload });

/** Makes the id of a reply: a reply that is sent twice is one row. */
const pageId = Math.random().toString(36).slice(2);
/** Replies to mail or to a question in a thread, and marks it as read. */
export async function reply(mail, text) {
  const replyId = pageId + mail.id;
  if (mail.thread_id) {
    await postMessage(mail.thread_id, {
      id: replyId,
      content: text,
      kind: 'result',
      to_id: mail.from_id,
      reply_to: mail.id
    });
  } else {
    await sendMail({
      id: mail.status === 'unread' ? replyId : undefined,
      to_inbox: mail.from_agent,
      payload: text,
      message_type: 'response',
      correlation_id: mail.correlation_id || mail.message_id,
      answers: shownQuestion(mail)
    });
  }
  if (mail.status !== 'unread') return;
  await setMailStatus(mail, 'read').catch(error =>
    showNotice('Reply sent, but the message couldn’t be marked as read: ' + error.message)
  );
}

/** Fetches mail with its receipts. */
export const fetchMailDetails = id => get('inbox/' + encodeURIComponent(id));

// ---- waking agents ----

/** Wakes an idle agent for the mail that waits for it. */
export async function wakeAgent(id) {
  await post(`agents/${encodeURIComponent(id)}/wake`);
  const agent = state.wake?.agents.get(id);
  if (agent) Object.assign(agent, { obstacle: 'begun', reason: '' });
  refresh.wake();
}

// ---- requests of single views ----

export const search = text => get('search', { q: text, limit: 8 });
/** Fetches the sums since a time, grouped by agent, model, workspace, day or hour. */
export const fetchCosts = (groupBy, since) => get('costs', { by: groupBy, since });
/** Yields every event of a task. */
export async function* fetchTaskEvents(id) {
  for (let after = 0, page; after != null; after = page.next) {
    page = await get('tasks/' + encodeURIComponent(id) + '/events', { after, limit: 1000 });
    yield* page.items;
  }
}
