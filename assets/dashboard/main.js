// Start, routing and the shell: what stands around every view. The URL's fragment is the
// route and holds all state (#/tasks?q=status:failed), so Back works and a link can be kept.
// A view is made when first shown:
//   { root, title, keys?, route?(parts, params), paint(dirty) }

import { h, text, hide, attr } from './dom.js';
import { state, onPaint, tick, rates, needs, waiting, touch, unread } from './store.js';
import { takeToken, kept, keep } from './api.js';
import * as sync from './sync.js';
import { cap, num, money, dur, safe, many, part, write } from './format.js';
import { palette, help, offer } from './palette.js';
import now from './views/now.js';
import tasks from './views/tasks.js';
import threads from './views/threads.js';
import inbox from './views/inbox.js';
import costs from './views/costs.js';
import setup from './views/setup.js';
import lock from './views/lock.js';

const VIEWS = { now, tasks, threads, inbox, costs, setup, lock },
  KEYS = { n: 'now', t: 'tasks', h: 'threads', i: 'inbox', c: 'costs', s: 'setup' };
const made = {},
  $ = id => document.getElementById(id),
  main = $('main'),
  links = [...document.querySelectorAll('[data-view]')],
  names = h('datalist', { id: 'agents' });
const pill = $('pill'),
  bar = $('notice'),
  icon = document.querySelector('[rel=icon]'),
  plain = icon.href;
let view,
  spoken = '',
  mail = 0,
  chord = 0,
  single = kept('keys') !== false;

// ---- routes ----

/** What had the focus may be gone with its view or pane: the heading, or the row one came from. */
function focus(left) {
  const e = document.activeElement;
  if (e !== document.body && e.offsetParent) return;
  const to = [...main.querySelectorAll('.detail > header [tabindex], .row > a:not([tabindex="-1"])')].find(e => e.offsetParent);
  // Lists are drawn when their size is known.
  to || !left ? (to || main).focus() : setTimeout(focus, 60, left - 1);
}
function route() {
  const [path, query] = location.hash.slice(2).split('?'),
    [asked, ...parts] = path.split('/').map(part),
    name = state.locked ? 'lock' : asked !== 'lock' && VIEWS[asked] ? asked : 'now';
  const next = (made[name] ||= VIEWS[name]()),
    moved = view && main.contains(document.activeElement);
  if (next !== view) {
    view = next;
    main.replaceChildren(view.root);
    for (const a of links) {
      const on = a.dataset.view === name;
      attr(a, 'aria-current', on ? 'page' : null);
      if (on) a.scrollIntoView({ block: 'nearest' });
    }
  }
  view.route?.(parts.filter(Boolean), new URLSearchParams(query));
  touch('all');
  if (moved) setTimeout(focus, 60, 5);
}

// ---- what the shell says ----

/** One polite sentence at a time, the newest, at most every few seconds. */
let queue = '',
  quiet = 0;
const announce = s => (queue = s);
function speak() {
  if (!queue || quiet-- > 0) return;
  text($('say'), queue);
  queue = '';
  quiet = 4;
}

function connection() {
  const { state: s, at } = state.conn,
    now = Date.now(),
    sick = state.status && state.status.state !== 'ok' && state.status.state;
  const shown = state.locked ? 'locked' : s !== 'live' ? s : !state.loaded ? 'connecting' : sick ? 'stale' : state.paused ? 'paused' : s;
  text(
    pill,
    {
      locked: 'Locked',
      connecting: 'Connecting',
      live: 'Live · ' + num(rates[58]) + ' ev/s',
      paused: `Paused · ${num(state.paused - 1)} new`,
      stale: s === 'stale' ? 'No answer for ' + dur((now - at) / 1e3) : 'Hub: ' + safe(sick, 40),
      retry: at > now + 500 ? `Reconnecting in ${Math.ceil((at - now) / 1e3)} s` : 'Reconnecting'
    }[shown]
  );
  attr(pill, 'data-state', shown);
  attr(pill, 'aria-pressed', String(!!state.paused));
  if (shown !== spoken && shown !== 'connecting') {
    announce(pill.textContent);
    spoken = shown;
  }
}

/** Title, icon and badges: also while the page is hidden, that is what they are for. */
function counts() {
  const need = needs(),
    mine = need.n,
    letters = waiting().length,
    running = [...state.tasks.values()].filter(k => k.status === 'running').length,
    fresh = [...state.threads.values()].filter(unread).length;
  for (const [name, n, what, s = num(n)] of [
    ['tasks', running, ' running'],
    ['threads', fresh, ' with unread messages'],
    ['inbox', letters, ' unread for you', num(letters) + (need.more ? '+' : '')],
    ['costs', state.today, ' today', money(state.today)]
  ]) {
    const b = links.find(a => a.dataset.view === name).lastElementChild;
    text(b, s);
    hide(b, !n);
    b.title = s + what;
  }
  const title = (mine ? `(${mine}${need.more ? '+' : ''}) ` : '') + (view.title && view.title + ' · ') + 'agenthub';
  if (document.title !== title) document.title = title;
  if (mine === mail) return;
  if (mine > mail && state.loaded) announce(mine + (mine === 1 ? ' waits' : ' wait') + ' for you');
  mail = mine;
  icon.href = mine
    ? "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='-1 -1 2 2'><circle r='1' fill='orange'/></svg>"
    : plain;
}

onPaint(dirty => {
  if (state.locked !== (view === made.lock)) return route();
  if (dirty.has('notice')) {
    text(bar.firstElementChild, state.notice);
    hide(bar, !state.notice);
  }
  if (dirty.has('back')) sync.notice(`Reconnected. ${many(state.back, 'event')} caught up.`);
  connection();
  if (dirty.has('all')) counts();
  // Paused: what comes in is kept, and shown when going on. What a person does is shown.
  if (!state.paused || dirty.has('all')) view.paint(dirty);
});

setInterval(() => {
  tick();
  counts();
  speak();
  if (state.agents.size !== names.size) {
    names.size = state.agents.size;
    names.replaceChildren(...[...state.agents.keys()].slice(0, 60).map(id => h('option', { value: id })));
  }
}, 1000);

// ---- what the shell does ----

const THEMES = ['system', 'light', 'dark'];
function theme(t) {
  if (t) keep('theme', t);
  t = kept('theme') || 'system';
  attr(document.documentElement, 'data-theme', t);
  text($('theme'), cap(t));
  attr($('theme'), 'aria-label', 'Theme: ' + t);
}
function pause() {
  state.paused = state.paused ? 0 : 1;
  touch('all');
}
const keymap = () => help(single, on => keep('keys', (single = on)));

offer([
  ...Object.entries(KEYS).map(([k, v]) => [cap(v), 'g ' + k, '#/' + v]),
  ['Write a message', 'm', write()],
  ['Pause or go on', 'Space', pause],
  ['Keys', '?', keymap],
  ['Go, do, find', '/', palette],
  ...THEMES.map(t => ['Theme: ' + t, '', () => theme(t)])
]);

addEventListener('keydown', e => {
  const { key, target } = e,
    typing = target.matches('input:not([type=checkbox]), textarea, select');
  if (key.toLowerCase() === 'k' && (e.ctrlKey || e.metaKey)) {
    e.preventDefault();
    return palette();
  }
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') || e.defaultPrevented) return;
  if (key === 'Escape') {
    const [, name, more] = location.hash.split(/[/?]/);
    if (typing) target.blur();
    else if (more) location.hash = view.root.querySelector('.back')?.getAttribute('href') || '#/' + name;
    return;
  }
  if (typing || !single || state.locked) return;
  const went = KEYS[key] && Date.now() - chord < 900,
    first = () => [...main.querySelectorAll('.row > a:not([tabindex="-1"]), .board a')].find(a => a.offsetParent);
  chord = key === 'g' ? Date.now() : 0;
  const act = went
    ? () => {
        location.hash = '#/' + KEYS[key];
      }
    : view.keys?.[key] ||
      {
        '/': palette,
        '?': keymap,
        o: () => target.click?.(),
        j: () => first()?.focus(),
        k: () => first()?.focus(),
        ' ': target.matches('a, button, summary, [type=checkbox]') ? null : pause
      }[key];
  if (act) {
    e.preventDefault();
    act();
  }
});

bar.lastElementChild.onclick = () => sync.notice('');
pill.onclick = pause;
$('find').onclick = palette;
$('keys').onclick = keymap;
$('theme').onclick = () => theme(THEMES[(THEMES.indexOf(kept('theme') || 'system') + 1) % 3]);
// The fragment is the route, so the skip link must not change it.
$('skip').onclick = e => {
  e.preventDefault();
  main.focus();
};
addEventListener('hashchange', () => {
  if (takeToken()) sync.unlock();
  route();
});
document.body.append(names);
theme();
takeToken();
route();
sync.start();
