// The one WebSocket: opens it, keeps it, resumes it. It knows positions and time,
// not what events mean: they go on in the order they came.
//   1. first connect without `since`; hello gives the position, the caller loads by HTTP
//   2. after a break, `since` = the last position seen: nothing missed, nothing twice
//   3. position lost or file replaced (4010): forget the position, tell, start at 1
// Not here: the token (api.js), applying events (store.js), loading (sync.js).

import { token } from './api.js';

const BACKOFF = [250, 500, 1000, 2000, 5000, 10000];
const QUIET = 8000; // silence after which we ask "still there?"
const STALE = 3000; // an unanswered question is shown after this
const DEAD = 45000; // and given up after this: a laptop that slept gets its time

let hooks,
  ws = null,
  pos = null,
  epoch = null,
  live = false,
  tries = 0;
let timer = 0,
  heard = 0,
  asked = 0,
  opened = 0,
  lost = 0,
  stopped = true;

export function start(h) {
  hooks = h;
  setInterval(beat, 1000);
  document.addEventListener('visibilitychange', () => document.hidden || hurry());
}

/** Connect now, whatever the back-off says. */
function hurry() {
  if (!stopped && !ws) {
    tries = 0;
    open();
  }
}
export function resume() {
  stopped = false;
  hurry();
}
export function stop() {
  stopped = true;
  clearTimeout(timer);
  drop();
}

/** Everything from the start, on a new connection. */
export function restart() {
  pos = epoch = null;
  drop();
  open();
}

function drop() {
  const old = ws;
  ws = null;
  live = false;
  if (old) old.close();
}

function open() {
  clearTimeout(timer);
  const q = new URLSearchParams({ instance_id: 'user', streams: 'messages,inbox,telemetry,tasks,threads', frames: 'array' });
  if (pos) q.set('since', pos);
  const resumed = !!pos;
  let me;
  try {
    me = ws = new WebSocket(location.origin.replace('http', 'ws') + '/ws?' + q, token() ? ['agenthub', 'bearer.' + token()] : ['agenthub']);
  } catch {
    return hooks.refused();
  }
  hooks.state('connecting');
  opened = heard = Date.now();
  asked = 0;
  me.onmessage = m => me === ws && take(m.data, resumed);
  me.onclose = e => me === ws && closed(e.code);
}

function begin(resumed) {
  live = true;
  opened = Date.now();
  const gap = lost ? opened - lost : 0;
  lost = 0;
  hooks.state('live');
  hooks.ready(resumed, gap);
}

function take(text, resumed) {
  heard = Date.now();
  if (asked) {
    asked = 0;
    if (live) hooks.state('live');
  }
  let list;
  try {
    list = JSON.parse(text);
  } catch {
    return;
  }
  if (!Array.isArray(list)) list = [list];
  const events = [];
  for (const ev of list) {
    const d = ev.data || {};
    if (ev.type === 'hello') {
      if (resumed && d.epoch !== epoch) return replaced();
      epoch = d.epoch;
      if (!resumed) pos = d.pos;
      begin(resumed);
    } else if (ev.type === 'error') {
      // Per-thread losses belong to subscriptions, which the full mode does not use.
      if (d.code === 'POSITION_LOST' && !d.thread_id) return replaced(d.message);
      if (d.code !== 'UNKNOWN_EVENT') hooks.error(d);
    } else if (ev.type !== 'pong') {
      if (ev.pos) pos = ev.pos;
      events.push(ev);
    }
  }
  if (events.length) hooks.events(events);
}

function replaced(why) {
  // The hub is there and well: no reason to wait long.
  tries = 0;
  pos = epoch = null;
  drop();
  hooks.lost(why);
  again();
}

function closed(code) {
  const was = live;
  ws = null;
  live = false;
  if (was && !lost) lost = Date.now();
  if (code === 4010) {
    pos = epoch = null;
    hooks.lost();
  }
  if (!was) hooks.probe();
  again(was);
}

function again(was) {
  if (stopped) return;
  // Only a connection that held for a while was a success; others go on backing off.
  if (was && Date.now() - opened > 1500) tries = 0;
  const wait = BACKOFF[Math.min(tries++, BACKOFF.length - 1)] * (0.7 + Math.random() * 0.6);
  hooks.state('retry', Date.now() + wait);
  timer = setTimeout(open, wait);
}

function beat() {
  if (!ws) return;
  const now = Date.now();
  if (now - (asked || now) > DEAD || (!live && now - opened > 15000)) {
    const was = live;
    if (was && !lost) lost = heard;
    drop();
    again(was);
  } else if (asked) {
    if (live && now - asked > STALE) hooks.state('stale', heard);
  } else if (live && now - heard > QUIET) {
    asked = now;
    ws.send(JSON.stringify({ type: 'ping', timestamp: now, data: {} }));
  }
}
