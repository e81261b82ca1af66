// The pieces views are made of: a name's mark, a state word, a time, a command to copy,
// a heading, the two-line list, the two panes, forms. Built once, filled again and again.

import { h, text, attr, hide, picture, List } from './dom.js';
import { state, touch } from './store.js';
import { mark, safe, ago, full } from './format.js';

export const Mark = () => h('span.mark', { 'aria-hidden': 'true' });
export function setMark(e, name) {
  if (e.name === name) return;
  e.name = name;
  text(e, name === 'human' ? 'me' : mark(name || '?'));
  attr(e, 'data-you', name === 'human');
}

/** Bars of one path: 60 numbers, a stroke each. */
export function Spark() {
  const root = picture('pulse', '60 20', '', {});
  root.set = list => {
    const unit = 19 / Math.max(4, ...list);
    attr(root.firstChild, 'd', list.map((n, i) => (n ? `M${i + 0.5} 20v-${Math.max(1.5, n * unit).toFixed(1)}` : '')).join('') || 'M0 20');
  };
  return root;
}

export const who = name => (name === 'human' ? 'You' : safe(name, 80) || 'unknown');

// A state is a sign, a word and a colour; unknown words are shown as they are.
const TONES = {};
for (const [tone, sign, words] of [
  ['run', '●', 'running working'],
  ['ok', '✓', 'arrived completed resolved result response completion'],
  ['bad', '▲', 'error failed urgent'],
  ['accent', '↗', 'directive'],
  ['warn', '◆', 'paused waiting question mail action approval_request request'],
  ['info', '◇', 'proposal feedback handoff']
])
  for (const w of words.split(' ')) TONES[w] = [tone, sign];

export const setTone = (e, word) => attr(e, 'data-tone', TONES[word]?.[0] || 'none');

export const Tag = () => h('span.tag');
export function setTag(e, word) {
  word ||= '';
  if (e.word === word) return;
  e.word = word;
  tell(e, safe(word, 40).replace(/_/g, ' '));
  setTone(e, word);
  attr(e, 'data-sign', TONES[word]?.[1] || '○');
}
/** What makes a mail more than a note. */
export const weight = m => (m.priority && m.priority !== 'info' ? m.priority : m.message_type === 'notification' ? '' : m.message_type);

export function setTime(e, ms) {
  text(e, ago(ms));
  if (e.ms !== ms) {
    e.ms = ms;
    e.dateTime = ms ? new Date(ms).toISOString() : '';
    e.title = full(ms);
  }
}

export const button = (label, onclick, kind = 'button') => h(kind, { type: 'button', onclick }, label);
/** Copies, and says so on the button. */
async function copy(b, s) {
  const was = b.textContent;
  try {
    await navigator.clipboard.writeText(s);
    text(b, 'Copied');
  } catch {
    text(b, 'Not allowed');
  }
  setTimeout(() => text(b, was), 1500);
}

export function command(about, cmd) {
  const code = h('code', cmd),
    b = button('Copy', () => {
      getSelection().selectAllChildren(code);
      copy(b, cmd);
    });
  attr(b, 'aria-label', 'Copy: ' + cmd);
  return h('div.cmd', h('p', about), h('div.cmdline', code, b));
}

/** Puts commands into `e`, each as `make` does; anew with another file. */
export function offer(e, names, make) {
  if (e.of === state.commands) return;
  e.of = state.commands;
  e.replaceChildren(...names.map(n => make(...state.commands.get(n))));
}

/** What to do where nothing is yet. show(yes): the commands are the hub's. */
export function Empty(title, about, ...names) {
  const ways = h('div'),
    root = h('section.empty', h('h2', title), h('p', about), ways, h('p.waits', 'Waiting for the first row'));
  root.show = yes => {
    hide(root, !yes);
    if (yes) offer(ways, names, command);
  };
  return root;
}

/** One line that is a link: mark, name, state, words, time. */
export const Item = (what = 'a.item') => h(what, Mark(), h('b'), Tag(), h('span.what'), h('time'));
export function setItem(a, href, name, head, word, line, at) {
  const [m, title, tag, words, time] = a.children;
  attr(a, 'href', href);
  setMark(m, name);
  text(title, head);
  setTag(tag, word);
  text(words, line);
  setTime(time, at);
}
/** A list of such, in two lines each: draw(item) → what setItem takes, and whether it is new. */
export const Rows = (label, key, draw, end) =>
  new List({
    label,
    key,
    end,
    height: 58,
    make: () => Item('a.two'),
    fill(a, item) {
      const d = draw(item);
      setItem(a, ...d);
      attr(a, 'data-new', !!d[6]);
    }
  });

/** As many list items as things to show, made once and filled again and again. */
export function each(ul, items, make, set) {
  items.forEach((it, i) => set(ul.children[i]?.firstChild || ul.appendChild(h('li', make())).firstChild, it));
  [...ul.children].forEach((li, i) => hide(li, i >= items.length));
}
/** A choice of links: set([[words, href, chosen?, count?]]). */
export function Chips(label) {
  const ul = h('ul'),
    nav = h('nav.chips', { 'aria-label': label }, ul);
  nav.set = list =>
    each(
      ul,
      list,
      () => h('a', h('span'), h('b.count')),
      (a, [words, href, on, n]) => {
        attr(a, 'href', href);
        attr(a, 'aria-current', on);
        text(a.firstChild, words);
        text(a.lastChild, String(n || ''));
        hide(a.lastChild, !n);
      }
    );
  return nav;
}
/** Says it, or takes no room. */
export function tell(e, s) {
  text(e, s);
  hide(e, !s);
}

export function save(name, body) {
  const a = h('a', { href: URL.createObjectURL(new Blob([body])), download: name });
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}

/** Two panes on a wide screen, one at a time on a narrow one. */
export const Split = (name, left, right) => h('div.split ' + name, h('section.side', ...left), h('section.detail', ...right));

/** A form that says what went wrong and keeps what was typed. */
export function onSend(form, button, alert, send) {
  const run = async act => {
    if (button.disabled) return;
    button.disabled = true;
    text(alert, '');
    try {
      await act();
    } catch (err) {
      text(alert, 'Not done: ' + err.message);
    }
    button.disabled = false;
    touch('all');
  };
  form.onsubmit = e => {
    e.preventDefault();
    run(send);
  };
  form.onkeydown = e => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      form.requestSubmit();
    }
  };
  return run;
}

let ids = 0;
export function field(label, input) {
  input.id = 'f' + ++ids;
  return h('div.field', h('label', { for: input.id }, label), input);
}
export const select = words => h('select', ...words.split(' ').map(w => h('option', w)));
