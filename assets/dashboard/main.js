// Start, routing and the shell: what stands around every view. The URL's fragment is
// the route (#/threads/build), so Back works and a link can be kept. A view is made when
// first shown: { root, title, route?(parts), paint(dirty) }.

import { h, text, hide, attr } from './dom.js';
import { state, onPaint, tick, rates, waiting, touch } from './store.js';
import { takeToken } from './api.js';
import * as sync from './sync.js';
import { num, size, dur, safe } from './format.js';
import now from './views/now.js';
import tasks from './views/tasks.js';
import threads from './views/threads.js';
import inbox from './views/inbox.js';
import lock from './views/lock.js';

const VIEWS = { now, tasks, threads, inbox, lock }, made = {}, $ = id => document.getElementById(id);
const main = $('main'), links = [...document.querySelectorAll('[data-view]')], names = h('datalist', { id: 'agents' }), pill = $('pill'), bar = $('notice');
let view, spoken = '', counted = 0, mail = 0;

const part = s => { try { return decodeURIComponent(s); } catch { return s; } };
function route() {
  const [asked, ...parts] = location.hash.slice(2).split('/').map(part), name = state.locked ? 'lock' : asked !== 'lock' && VIEWS[asked] ? asked : 'now';
  const next = made[name] ||= VIEWS[name]();
  if (next !== view) {
    view = next;
    main.replaceChildren(view.root);
    for (const a of links) attr(a, 'aria-current', a.dataset.view === name ? 'page' : null);
  }
  view.route?.(parts.filter(Boolean));
  touch('all');
}

/** One polite sentence at a time; a flood of events is never announced. */
const announce = s => text($('say'), s);

function connection() {
  const { state: s, at } = state.conn, now = Date.now(), sick = state.status && state.status.state !== 'ok' && state.status.state;
  const shown = state.locked ? 'locked' : s !== 'live' ? s : !state.loaded ? 'connecting' : sick ? 'stale' : s;
  text(pill, {
    locked: 'Locked', connecting: 'Connecting', live: 'Live · ' + num(rates[58]) + ' ev/s',
    stale: s === 'stale' ? 'No answer for ' + dur((now - at) / 1e3) : 'Hub: ' + safe(sick, 40),
    retry: at > now + 500 ? `Reconnecting in ${Math.ceil((at - now) / 1e3)} s` : 'Reconnecting',
  }[shown]);
  attr(pill, 'data-state', shown);
  const says = { live: 'Live', retry: 'Connection lost, reconnecting', stale: 'The hub does not answer', locked: 'Locked' }[shown];
  if (says && says !== spoken) { announce(says); spoken = says; }
}

function facts() {
  const s = state.status, dl = $('facts'), top = Math.max(8, ...rates);
  attr($('pulse'), 'd', rates.slice(0, 59).map((n, i) => (n ? `M${i + 0.5} 20v-${Math.max(1.5, (n / top) * 19).toFixed(1)}` : '')).join('') || 'M0 20');
  if (!s) return;
  const bad = s.rejected?.length, rows = [['file', s.db.path.replace(/.*\//, ''), s.db.path], ['size', size(s.db.size + s.db.wal_size)], ['clients', num(s.clients)]];
  if (bad) rows.push(['rejected', num(bad), JSON.stringify(s.rejected)]);
  if (dl.was === (dl.was = rows.join())) return;
  dl.replaceChildren(...rows.map(([k, v, more = '']) => h('div', { title: more, 'data-tone': k === 'rejected' ? 'warn' : '' }, h('dt', k), h('dd', safe(v)))));
}

function counts() {
  if (Date.now() - counted < 250) return;
  counted = Date.now();
  const mine = waiting().length, running = [...state.tasks.values()].filter(k => k.status === 'running').length;
  for (const [name, n, what] of [['tasks', running, ' running'], ['inbox', mine, ' unread for you']]) {
    const b = links.find(a => a.dataset.view === name).lastElementChild;
    text(b, num(n)); hide(b, !n); b.title = n + what;
  }
  const title = (mine ? `(${mine}) ` : '') + (view.title && view.title + ' · ') + 'agenthub';
  if (document.title !== title) document.title = title;
  if (mine > mail) announce(mine === 1 ? 'One message waits for you' : mine + ' messages wait for you');
  mail = mine;
}

onPaint(dirty => {
  if (state.locked !== (view === made.lock)) return route();
  if (dirty.has('notice')) { text(bar.firstElementChild, state.notice); hide(bar, !state.notice); }
  if (dirty.has('back')) announce(`Back. ${num(state.back)} events caught up`);
  connection();
  counts();
  view.paint(dirty);
});

setInterval(() => {
  facts();
  tick();
  if (state.agents.size !== names.size) { names.size = state.agents.size; names.replaceChildren(...[...state.agents.keys()].slice(0, 60).map(id => h('option', { value: id }))); }
}, 1000);
bar.lastElementChild.onclick = () => sync.notice('');
// The fragment is the route, so the skip link must not change it.
$('skip').onclick = e => { e.preventDefault(); main.focus(); };
addEventListener('hashchange', () => { if (takeToken()) sync.unlock(); route(); });
// Another tab got the key: this one opens too.
addEventListener('storage', e => { if (e.key === 'agenthub.token') sync.unlock(); });
document.body.append(names);
takeToken();
route();
sync.start();
