// Keeps the store up to date: connects, loads a snapshot over HTTP, and applies the events of the socket.
// Events are queued while a snapshot loads. A snapshot is never older than the `hello` before it, so applying the events
// afterwards ends at the state of the database. Rows are identified by message_seq and id, so an event that the snapshot
// already contains changes nothing.

/** @import { BrowserSession, ConnectionState, HubError, HubEvent } from './types.d.ts' */

import { get, remove, exchangeCode, setUnauthorizedHandler } from './api.js';
import { savedSession, forgetSession, onSessionChange, deleteOldToken } from './session.js';
import { capitalize } from './format.js';
import { reset, showNotice, state } from './store.js';
import { applyEvent } from './store/events.js';
import { refresh } from './store/refresh.js';
import { invalidate } from './store/schedule.js';
import './sync/refresh.js';
import { loadRecentActivity, loadSnapshot } from './sync/snapshot.js';
import { loadTimeline } from './sync/timelines.js';
import * as socket from './socket.js';

const STATUS_INTERVAL_MS = 15000;
const RETRY_LOAD_MS = 2000;
const OTHER_PROGRAM_NOTICE = `Another program answers at ${location.host}, not your hub. It was not sent this browser’s key. Retrying; agenthub status shows whether your hub runs.`;
/** Rows written in the first moments after a connection may have waited for it. */
const LATENCY_DELAY_MS = 2000;
/** A reconnect is announced if the connection was down this long. */
const ANNOUNCE_GAP_MS = 3000;
/** The missed events have arrived after this long. */
const MISSED_EVENTS_DELAY_MS = 1200;

/** @type {HubEvent[] | null} Events that arrived while the snapshot loads; null when none is loading. */
let heldEvents = null;
let loadNumber = 0;
let eventsSinceConnect = 0;

/**
 * Starts the page.
 * @param {string} code the one-time code of the link the page was opened with, or an empty string
 */
export async function start(code) {
  deleteOldToken();
  setUnauthorizedHandler(lock);
  onSessionChange(() => (savedSession() ? state.locked && unlock() : lock()));
  socket.start({
    onState,
    onReady,
    onEvents,
    onRefused: lock,
    // A refused handshake looks like any other close. An HTTP request shows whether it was the key.
    onHandshakeFailed: () => void get('status').catch(() => {}),
    onPositionLost,
    onError
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

// ---- the key of this browser ----

/** Locks the page and drops the data. */
function lock() {
  if (state.locked) return;
  state.locked = true;
  // A snapshot that still loads is not shown.
  loadNumber++;
  socket.stop();
  reset();
}

function unlock() {
  state.locked = false;
  state.unlockError = '';
  invalidate('all');
  socket.resume();
}

/**
 * Exchanges a one-time code for a key, with which the page opens.
 * @param {string} code
 */
export async function unlockWith(code) {
  await exchangeCode(code);
  if (state.locked) unlock();
}

/**
 * As unlockWith, for the code of a link that was opened. If it fails, the page goes on with the key it has.
 * @param {string} code
 */
export async function useLink(code) {
  try {
    await unlockWith(code);
  } catch (error) {
    state.unlockError = capitalize(/** @type {Error} */ (error).message);
    invalidate('all');
  }
}

/**
 * Revokes the key of a browser; that of this browser locks the page.
 * @param {BrowserSession} session
 */
export async function revokeSession({ id, current }) {
  await remove('sessions/' + encodeURIComponent(id));
  if (!current) return;
  forgetSession();
  lock();
}

// ---- the connection ----

/**
 * @param {ConnectionState} connectionState
 * @param {number} at
 */
function onState(connectionState, at = 0) {
  if (connectionState === 'foreign') showNotice(OTHER_PROGRAM_NOTICE);
  if (connectionState === 'live') {
    state.unlockError = '';
    if (state.notice === OTHER_PROGRAM_NOTICE) showNotice('');
  }
  const silentSince = connectionState === 'stale' ? at : Date.now();
  const lostAt = connectionState === 'live' ? 0 : state.connection.lostAt || silentSince;
  state.connection = { state: connectionState, at, lostAt };
  invalidate('connection');
}

/** @param {string} reason */
function onPositionLost(reason = 'the database was replaced') {
  // The text after the semicolon is advice for other clients.
  showNotice(`Reloaded: ${reason.split(';')[0]}.`);
  reset();
}

/** @param {HubError} error */
function onError(error) {
  if (!error.temporary) showNotice(error.message || error.code);
}

/** @param {HubEvent[]} events */
function onEvents(events) {
  eventsSinceConnect += events.length;
  if (heldEvents) heldEvents.push(...events);
  else events.forEach(applyEvent);
}

/**
 * @param {boolean} resumed the socket sends all events since the last connection
 * @param {number} gapMs how long the connection was down
 */
function onReady(resumed, gapMs) {
  state.measureLatencyFrom = Date.now() + LATENCY_DELAY_MS;
  eventsSinceConnect = 0;
  if (resumed && state.loaded) catchUp(gapMs);
  else void load();
}

/**
 * Requests the data that the socket does not send, or of which it sends only the latest value.
 * @param {number} gapMs
 */
function catchUp(gapMs) {
  refresh.status();
  refresh.agents();
  refresh.telemetry();
  refresh.mailboxes();
  refresh.tasks();
  refresh.costs();
  refresh.wake();
  state.timelines.forEach(timeline => timeline.error && void loadTimeline(timeline));
  if (gapMs <= ANNOUNCE_GAP_MS) return;
  setTimeout(() => {
    state.missedEvents = eventsSinceConnect;
    invalidate('reconnected');
  }, MISSED_EVENTS_DELAY_MS);
}

/** Loads a snapshot, then applies the events that arrived meanwhile. */
async function load() {
  const number = ++loadNumber;
  const isCurrent = () => number === loadNumber;
  heldEvents = [];
  try {
    await loadSnapshot();
  } catch (error) {
    if (!isCurrent() || state.locked) return;
    showNotice(`Couldn’t load: ${/** @type {Error} */ (error).message} Retrying.`);
    setTimeout(() => isCurrent() && socket.restart(), RETRY_LOAD_MS);
    return;
  }
  if (!isCurrent()) return;
  state.loaded = true;
  refresh.wake();
  refresh.repositories();
  loadRecentActivity().catch(() => {});
  const events = heldEvents;
  heldEvents = null;
  events?.forEach(applyEvent);
  invalidate('all');
}
