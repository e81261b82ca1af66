// The pieces views are made of: a name's mark, a state word, a time, a command to copy,
// a heading, the two-line list, the two panes, forms. Built once, filled again and again.

import { h, text, attr, hide, List } from './dom.js';
import { mark, safe, ago, full } from './format.js';

export const Mark = () => h('span.mark', { 'aria-hidden': 'true' });
export function setMark(e, name) {
  if (e.name === name) return;
  e.name = name;
  const m = mark(name || '?'), you = name === 'human';
  text(e, you ? 'me' : m.letters);
  e.className = 'mark ' + (you ? 'you' : 'm' + m.hue);
}

export const who = name => (name === 'human' ? 'You' : safe(name, 80) || 'unknown');

// A state is a shape, a word and a colour; unknown words are shown as they are.
const TONES = {};
for (const [tone, words] of Object.entries({
  run: 'running working', ok: 'completed resolved result response completion', bad: 'error failed urgent', accent: 'directive',
  warn: 'paused question action approval_request request', info: 'proposal feedback handoff',
})) for (const w of words.split(' ')) TONES[w] = tone;

export const Tag = () => h('span.tag');
export function setTag(e, word) {
  word ||= '';
  if (e.word === word) return;
  e.word = word;
  text(e, safe(word, 40).replace(/_/g, ' '));
  attr(e, 'data-tone', TONES[word] || 'none');
  hide(e, !word);
}
/** What makes a mail more than a note. */
export const weight = m => (m.priority && m.priority !== 'info' ? m.priority : m.message_type === 'notification' ? '' : m.message_type);

export function setTime(e, ms) {
  text(e, ago(ms));
  if (e.ms !== ms) { e.ms = ms; e.dateTime = ms ? new Date(ms).toISOString() : ''; e.title = full(ms); }
}

export function command(about, cmd) {
  const code = h('code', cmd), b = h('button', { type: 'button', 'aria-label': 'Copy: ' + cmd }, 'Copy');
  b.onclick = async () => {
    try { await navigator.clipboard.writeText(cmd); text(b, 'Copied'); } catch {
      getSelection().selectAllChildren(code);
      text(b, 'Selected');
    }
    setTimeout(() => text(b, 'Copy'), 1500);
  };
  return h('div.cmd', h('p', about), h('div.cmdline', code, b));
}

const COMMANDS = {
  sql: ['Any program that can open SQLite is an agent:', `sqlite3 -cmd '.timeout 5000' "$(agenthub path)" "INSERT INTO messages(thread_id, from_id, content) VALUES('build','planner','tests are green')"`],
  post: ['Say something in a thread:', "agenthub post build 'tests are green' --from planner"],
  send: ['Write to you:', "agenthub send human 'the build is red' --from planner"],
};

export const Empty = (title, about, ...keys) => h('section.empty', h('h2', title), h('p', about), ...keys.map(k => command(...COMMANDS[k])),
  h('p.waits', 'Waiting for the first row. This page will show it by itself.'));

/** A list of two-line rows: draw(item) → [name for the mark, title, tag, second line, time, new?]. */
export const Rows = (label, key, href, draw, end) => new List({
  label, key, end, height: 58,
  make: () => h('a.two', Mark(), h('b'), Tag(), h('span.sub'), h('time')),
  fill(a, item) {
    const [m, title, tag, sub, time] = a.children, [name, head, word, line, at, fresh] = draw(item);
    attr(a, 'href', href(item));
    attr(a, 'data-new', fresh ? '' : null);
    setMark(m, name); text(title, head); setTag(tag, word); text(sub, line); setTime(time, at);
  },
});

/** Two panes on a wide screen, one at a time on a narrow one. */
export const Split = (name, left, right) => h('div.split', { class: 'split ' + name }, h('section.side', ...left), h('section.detail', ...right));

/** A form that says what went wrong and keeps what was typed. */
export function onSend(form, button, alert, send) {
  form.onsubmit = async e => {
    e.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    text(alert, '');
    try { await send(); } catch (err) { text(alert, 'Not sent: ' + err.message); }
    button.disabled = false;
  };
  form.onkeydown = e => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); form.requestSubmit(); }
  };
}

let ids = 0;
export function field(label, input) {
  input.id = 'f' + ++ids;
  return h('div.field', h('label', { for: input.id }, label), input);
}
export const select = words => h('select', ...words.split(' ').map(w => h('option', w)));
