// One box to go, to do and to find (/ or Ctrl+K), and the map of keys (?).
// Commands and names are matched here; texts are searched by the hub.

import { h, text, attr } from './dom.js';
import { state } from './store.js';
import { search } from './sync.js';
import { line, safe, url, place, write } from './format.js';

const SHOWN = 9;
let items = [],
  at = 0,
  asked = 0,
  commands = [];
const input = h('input', {
    role: 'combobox',
    'aria-expanded': 'true',
    'aria-controls': 'found',
    'aria-autocomplete': 'list',
    'aria-label': 'Go, do or find',
    placeholder: 'Go to, do, or find in everything written…',
    autocomplete: 'off',
    spellcheck: 'false',
    oninput: find,
    onkeydown(e) {
      const way = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (way) {
        at = (at + way + items.length) % items.length || 0;
        pick();
      } else if (e.key === 'Enter') take(at);
      else return;
      e.preventDefault();
    }
  }),
  list = h('ul', { id: 'found', role: 'listbox', 'aria-label': 'Results' }),
  hint = h('p.hint', { role: 'status' }),
  box = dialog('palette', 'Go, do or find', input, list, hint);

/** Closed by a click beside it. */
function dialog(name, label, ...kids) {
  const e = h('dialog.' + name, { 'aria-label': label, onclick: ev => ev.target === e && e.close() }, ...kids);
  document.body.append(e);
  return e;
}

/** What can be done: [words, key, act or link]. */
export const offer = c => {
  commands = c;
};

function local(q) {
  const all = [
    ...commands,
    ...[...state.agents.keys()].map(id => ['Write to ' + id, 'agent', write(id)]),
    ...[...state.threads.values()].map(t => [t.title || t.id, 'thread', url('threads', t.id)]),
    ...[...state.tasks.values()].map(k => [k.directive || k.task_id, 'task', url('tasks', k.task_id)])
  ];
  const words = q.toLowerCase().split(/\s+/);
  return all.filter(([s]) => words.every(w => s.toLowerCase().includes(w))).slice(0, SHOWN);
}

function show(more = []) {
  items = [...local(input.value.trim()), ...more];
  at = Math.min(at, Math.max(0, items.length - 1));
  list.replaceChildren(
    ...items.map(([words, note], i) =>
      h('li', { role: 'option', id: 'o' + i, onclick: () => take(i) }, h('span.what', line(words, 140)), h('span.sub', safe(note, 40)))
    )
  );
  pick();
}
function pick() {
  [...list.children].forEach((li, i) => attr(li, 'aria-selected', String(i === at)));
  attr(input, 'aria-activedescendant', items.length ? 'o' + at : null);
  list.children[at]?.scrollIntoView({ block: 'nearest' });
}

async function find() {
  const q = input.value.trim(),
    mine = ++asked;
  at = 0;
  show();
  text(hint, '');
  if (q.length < 2) return;
  await new Promise(r => setTimeout(r, 160));
  if (mine !== asked) return;
  try {
    const found = (await search(q)).items;
    if (mine !== asked) return;
    show(found.map(r => [[r.title, r.snippet].filter(Boolean).join(': '), r.from || r.kind, place(r)]));
    if (!items.length) text(hint, 'Nothing found.');
  } catch (e) {
    if (mine === asked) text(hint, 'Texts were not searched: ' + e.message);
  }
}

function take(i) {
  const act = items[i]?.[2];
  if (!act) return;
  box.close();
  typeof act === 'string' ? (location.hash = act.slice(1)) : act();
}

export function palette() {
  if (box.open) return box.close();
  input.value = '';
  at = 0;
  box.showModal();
  find();
}

// ---- the map of keys ----

/** Beside the commands that have a key. */
const MAP =
  'Down, up|j k;Open|Enter o;Back|Esc;Answer|r;Mark read|a;Send|Ctrl Enter;Task before, after|[ ];Error after, before|e E;Follow|f;Waterfall|w';
let map;
export function help(single, toggle) {
  if (!map) {
    const on = h('input', { type: 'checkbox', onchange: () => toggle(on.checked) });
    on.checked = single;
    map = dialog(
      'map',
      'Keys',
      h('h2', 'Keys'),
      h(
        'dl',
        ...[...commands.filter(c => c[1]), ...MAP.split(';').map(k => k.split('|'))].map(([does, keys]) =>
          h('div', h('dt', ...keys.split(' ').map(c => h('kbd', c))), h('dd', does))
        )
      ),
      h('p', h('label', on, ' Keys of one letter work')),
      h('form', { method: 'dialog' }, h('button.go', 'Close'))
    );
  }
  map.open ? map.close() : map.showModal();
}
