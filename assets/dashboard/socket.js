// The WebSocket to the hub: connection, keepalive, reconnect and resume.
// It handles positions and time, not the meaning of events, which it passes on in the order of arrival.
//   1. The first connection has no `since`. `hello` gives the position; the caller loads a snapshot over HTTP.
//   2. After a disconnect, `since` is the last position seen: no event is missed or repeated.
//   3. Before each connection the hub proves itself, so that no other program receives the key.
//   4. If the position is lost or the database was replaced (close code 4010), the position is dropped,
//      the caller is notified, and step 1 follows.

/** @import { ConnectionState, HubError, HubEvent, Session } from './types.d.ts' */

import { savedSession } from './session.js';
import { requireProof, keepProof, dropProof, OTHER_PROGRAM, UNKNOWN_SESSION } from './hub_proof.js';

/** Delays between attempts to connect, in ms; each is varied by up to 30 %. */
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 5000, 10000];
/** After this long without a frame, send a ping. */
const PING_AFTER_MS = 8000;
/** After this long without a response to the ping, show it. */
const STALE_AFTER_MS = 3000;
/** After this long without a response to the ping, close. Long enough for a laptop that wakes from sleep. */
const DEAD_AFTER_MS = 45000;
/** Maximum time from opening to `hello`. */
const HELLO_TIMEOUT_MS = 15000;
/** Only a connection that lasted this long resets the retry delay. */
const STABLE_AFTER_MS = 1500;
const CLOSE_DATABASE_REPLACED = 4010;

/**
 * @typedef {object} Handlers
 * @property {(state: ConnectionState, at?: number) => void} onState `at`: since when it is silent, or the time of the next
 *   attempt
 * @property {(resumed: boolean, gapMs: number) => void} onReady `hello` arrived; `gapMs` is how long the connection was down
 * @property {(events: HubEvent[]) => void} onEvents
 * @property {(reason?: string) => void} onPositionLost
 * @property {(error: HubError) => void} onError an `error` event from the hub
 * @property {() => void} onRefused the hub does not know this browser's session, or its key cannot be sent as a subprotocol
 * @property {() => void} onHandshakeFailed closed before `hello`
 */

/** @type {Handlers} */
let handlers;
/** @type {WebSocket | null} */
let socket = null;
/** @type {object | null} The attempt to connect that waits for the hub's proof. */
let proving = null;
/** The position of the last event, and the epoch of its database; empty without one. */
let position = '';
let epoch = '';
let isLive = false;
let attempts = 0;
let retryTimer = 0;
let lastFrameAt = 0;
let pingSentAt = 0;
let openedAt = 0;
let disconnectedAt = 0;
let stopped = true;

/**
 * Sets the handlers and starts the keepalive; `resume()` connects.
 * @param {Handlers} socketHandlers
 */
export function start(socketHandlers) {
  handlers = socketHandlers;
  setInterval(checkAlive, 1000);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) connectNow();
  });
}

/** Connects without waiting for the retry delay. */
function connectNow() {
  if (!stopped && !socket && !proving) {
    attempts = 0;
    void open();
  }
}

export function resume() {
  stopped = false;
  connectNow();
}

/** Ends the connection and drops the position: the next connection starts with a snapshot. */
export function stop() {
  stopped = true;
  clearTimeout(retryTimer);
  dropPosition();
  close();
}

/** Drops the position and opens a new connection, so that the caller loads a new snapshot. */
export function restart() {
  dropPosition();
  close();
  void open();
}

function dropPosition() {
  position = epoch = '';
}

function close() {
  const old = socket;
  socket = proving = null;
  isLive = false;
  dropProof();
  if (old) old.close();
}

async function open() {
  clearTimeout(retryTimer);
  handlers.onState('connecting');
  const session = savedSession();
  if (session && !(await isProven(session))) return;
  const query = new URLSearchParams({
    instance_id: 'user',
    streams: 'messages,inbox,telemetry,tasks,threads',
    frames: 'array'
  });
  if (position) query.set('since', position);
  const resumed = !!position;
  const protocols = session ? ['agenthub', 'bearer.' + session.key] : ['agenthub'];
  /** @type {WebSocket} */
  let opening;
  try {
    opening = socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws?' + query, protocols);
  } catch {
    return handlers.onRefused();
  }
  openedAt = lastFrameAt = Date.now();
  pingSentAt = 0;
  opening.onmessage = message => opening === socket && onFrame(message.data, resumed, session);
  opening.onclose = event => opening === socket && onClose(event.code);
}

/**
 * Returns whether the hub has proved itself and this attempt to connect is still wanted.
 * @param {Session} session
 */
async function isProven(session) {
  const attempt = (proving = {});
  /** @type {{ reason?: string } | null} */
  let failure = null;
  try {
    await requireProof(session);
  } catch (error) {
    failure = /** @type {{ reason?: string }} */ (error);
  }
  if (attempt !== proving) return false;
  proving = null;
  if (failure?.reason === UNKNOWN_SESSION) handlers.onRefused();
  else if (failure) scheduleRetry(false, failure.reason === OTHER_PROGRAM ? 'foreign' : 'retry');
  return !failure;
}

/**
 * @param {boolean} resumed
 * @param {Session | null} session
 */
function onHello(resumed, session) {
  isLive = true;
  keepProof(session);
  openedAt = Date.now();
  const gapMs = disconnectedAt ? openedAt - disconnectedAt : 0;
  disconnectedAt = 0;
  handlers.onState('live');
  handlers.onReady(resumed, gapMs);
}

/**
 * @param {string} text one event, or an array of events
 * @param {boolean} resumed
 * @param {Session | null} session
 */
function onFrame(text, resumed, session) {
  lastFrameAt = Date.now();
  if (pingSentAt) {
    pingSentAt = 0;
    if (isLive) handlers.onState('live');
  }
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return;
  }
  const events = [];
  for (const event of Array.isArray(frame) ? frame : [frame]) {
    const data = event.data || {};
    if (event.type === 'hello') {
      if (resumed && data.epoch !== epoch) return onPositionLost();
      epoch = data.epoch;
      if (!resumed) position = data.pos;
      onHello(resumed, session);
    } else if (event.type === 'error') {
      // An error with a thread_id belongs to a subscription; this connection receives everything and has none.
      if (data.code === 'POSITION_LOST' && !data.thread_id) return onPositionLost(data.message);
      if (data.code !== 'UNKNOWN_EVENT') handlers.onError(data);
    } else if (event.type !== 'pong') {
      if (event.pos) position = event.pos;
      events.push(event);
    }
  }
  if (events.length) handlers.onEvents(events);
}

/** @param {string} [reason] */
function onPositionLost(reason) {
  // The hub itself works, so the first attempt is made soon.
  attempts = 0;
  dropPosition();
  close();
  handlers.onPositionLost(reason);
  scheduleRetry();
}

/** @param {number} code */
function onClose(code) {
  const wasLive = isLive;
  socket = null;
  isLive = false;
  dropProof();
  if (wasLive && !disconnectedAt) disconnectedAt = Date.now();
  if (code === CLOSE_DATABASE_REPLACED) {
    dropPosition();
    handlers.onPositionLost();
  }
  if (!wasLive) handlers.onHandshakeFailed();
  scheduleRetry(wasLive);
}

/** @param {ConnectionState} retryState */
function scheduleRetry(wasLive = false, retryState = 'retry') {
  if (stopped) return;
  if (wasLive && Date.now() - openedAt > STABLE_AFTER_MS) attempts = 0;
  const delay = RETRY_DELAYS_MS[Math.min(attempts++, RETRY_DELAYS_MS.length - 1)] * (0.7 + Math.random() * 0.6);
  handlers.onState(retryState, Date.now() + delay);
  retryTimer = setTimeout(open, delay);
}

function checkAlive() {
  if (!socket) return;
  const now = Date.now();
  const isDead = pingSentAt && now - pingSentAt > DEAD_AFTER_MS;
  const helloIsLate = !isLive && now - openedAt > HELLO_TIMEOUT_MS;
  if (isDead || helloIsLate) {
    const wasLive = isLive;
    if (wasLive && !disconnectedAt) disconnectedAt = lastFrameAt;
    close();
    scheduleRetry(wasLive);
  } else if (pingSentAt) {
    if (isLive && now - pingSentAt > STALE_AFTER_MS) handlers.onState('stale', lastFrameAt);
  } else if (isLive && now - lastFrameAt > PING_AFTER_MS) {
    pingSentAt = now;
    socket.send(JSON.stringify({ type: 'ping', timestamp: now, data: {} }));
  }
}
