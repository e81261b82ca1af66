// Small helpers over the DOM, and the two lists everything is shown in:
//   List  rows of one height, recycled: thousands of items, a screenful of nodes
//   Log   rows of any height, a moving window over an array that grows at both ends; if the
//         array itself is a window (`apart`), the rest is asked for
// Text goes in through text nodes only. No state of the application in here.

import { day, other } from './format.js';

/** h('p.facts', {title}, kids…); attributes may be left out, `on…` are listeners. */
export function h(what, props, ...kids) {
  const [tag, name] = what.split('.'),
    e = document.createElement(tag);
  if (name) e.className = name;
  if (props instanceof Node || typeof props === 'string') e.append(props);
  else for (const k in props) k.startsWith('on') ? e.addEventListener(k.slice(2), props[k]) : attr(e, k, props[k]);
  e.append(...kids);
  return e;
}
function svg(tag, props, ...kids) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const k in props) attr(e, k, props[k]);
  e.append(...kids);
  return e;
}
/** A picture that takes any width: `box` is how wide and high it counts, `paths` are their
 *  attributes; without a label it only adorns. */
export const picture = (name, box, label, ...paths) =>
  svg(
    'svg',
    { class: name, viewBox: '0 0 ' + box, preserveAspectRatio: 'none', ...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true }) },
    ...paths.map(p => svg('path', p))
  );
/** Reuses the text node: replacing it leaves thousands of dead nodes a second. */
export function text(e, s) {
  const n = e.firstChild;
  if (!n) {
    if (s) e.append(s);
  } else if (n.data !== s) n.data = s;
}
export function attr(e, k, v) {
  if (v == null || v === false) e.removeAttribute(k);
  else if (e.getAttribute(k) !== String(v)) e.setAttribute(k, v);
}
export const hide = (e, yes) => {
  if (e.hidden !== !!yes) e.hidden = !!yes;
};

export class List {
  /** make() → element whose first child is the link; fill(link, item). */
  constructor(how) {
    Object.assign(this, how, { items: [], live: new Map(), view: 0, hand: -1e9 });
    this.space = h('div.space', { role: 'list', 'aria-label': how.label });
    const r = (this.root = h('div.list', this.space)),
      hand = () => {
        this.hand = performance.now();
      };
    r.onscroll = () => {
      this.soon();
      if (r.scrollTop + this.view > this.items.length * how.height - 600) how.end?.();
    };
    r.onpointermove = hand;
    r.addEventListener('focusin', e => {
      this.at = this.key(this.items[e.target.closest('.row').at]);
    });
    r.onkeydown = e => {
      hand();
      this.keys(e);
    };
    new ResizeObserver(() => {
      this.view = r.clientHeight;
      this.soon();
    }).observe(r);
  }

  /** A hand was in the list a moment ago: it must not be reordered now. */
  held() {
    return performance.now() - this.hand < 2500;
  }

  soon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint(items = this.items, current = this.current) {
    this.items = items;
    this.current = current;
    const { height, live, space } = this,
      n = items.length,
      want = new Map(),
      free = [];
    const from = Math.max(0, Math.floor(this.root.scrollTop / height) - 4),
      to = Math.min(n, from + Math.ceil(this.view / height) + 8);
    if (this.n !== n) {
      this.n = n;
      space.style.height = n * height + 'px';
    }
    for (let i = from; i < to; i++) want.set(this.key(items[i]), i);
    // The focused row is never recycled: focus must not move by itself.
    for (const [k, e] of live)
      if (!want.has(k) && !e.contains(document.activeElement)) {
        live.delete(k);
        free.push(e);
      }
    // One stop for Tab in the whole list; arrows do the rest.
    const stop = [this.at, current].find(k => want.has(k)) ?? want.keys().next().value;
    for (const [k, i] of want) {
      let e = live.get(k) || free.pop();
      if (!e) {
        e = h('div.row', { role: 'listitem' }, this.make());
        space.append(e);
      }
      live.set(k, e);
      if (e.at !== i) {
        e.at = i;
        e.style.transform = `translateY(${i * height}px)`;
        attr(e, 'aria-posinset', i + 1);
      }
      attr(e, 'aria-setsize', n);
      const a = e.firstChild,
        tab = k === stop ? 0 : -1;
      this.fill(a, items[i]);
      if (a.tabIndex !== tab) a.tabIndex = tab;
      attr(a, 'aria-current', k === current);
    }
    for (const e of free) e.remove();
  }

  keys(e) {
    const row = e.target.closest('.row');
    if (!row || e.ctrlKey || e.metaKey || e.altKey) return;
    const { height, root, view, items } = this,
      page = Math.floor(view / height) || 1,
      at = row.at;
    let i = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: 1e9, PageDown: at + page, PageUp: at - page }[e.key];
    if (i == null) return;
    e.preventDefault();
    i = Math.max(0, Math.min(items.length - 1, i));
    root.scrollTop = Math.min(i * height, Math.max(root.scrollTop, (i + 1) * height - view));
    this.at = this.key(items[i]);
    this.paint();
    this.live.get(this.at).firstChild.focus({ preventScroll: true });
  }
}

const WINDOW = 60,
  STEP = 30;

export class Log {
  /** Shows one of log.js's logs, and asks for more of it. */
  constructor(how) {
    Object.assign(this, how, { a: 0, b: 0, from: 0, seen: 0, follow: true });
    this.body = h('div.logbody');
    this.box = h('div.log', { role: 'log', 'aria-label': how.label, 'aria-live': how.live, tabindex: 0, onscroll: () => this.scrolled() }, this.body);
    this.jump = h('button.jump', { type: 'button', hidden: true, onclick: () => this.tail() }, 'Latest ↓');
    this.root = h('div.logwrap', this.box, this.jump);
    new ResizeObserver(() => this.follow && this.down()).observe(this.box);
  }

  tail() {
    if (this.rows?.apart) return this.latest(this.log);
    this.follow = true;
    this.paint();
  }
  /** Brings what is at `goal` into sight, unless it has to be read first. */
  seek(goal) {
    const { rows, first, last, at } = this.log;
    if ((goal < first && !rows.all) || (goal > last && rows.apart)) return false;
    const i = rows.findIndex(r => at(r.e) >= goal || r.result?.id === goal);
    this.show(rows.base + (i < 0 ? rows.length : i));
    return true;
  }
  /** Brings the row of this number into sight and marks it. */
  show(i) {
    const { rows, box, body } = this,
      max = rows.base + rows.length - 1;
    this.at = i = Math.max(rows.base, Math.min(max, i));
    this.follow = false;
    this.a = i - STEP;
    this.b = this.a + WINDOW;
    this.paint();
    const e = body.children[i - this.from];
    if (!e) return;
    box.scrollTop = e.offsetTop - box.clientHeight / 3;
    body.querySelector('[data-at]')?.removeAttribute('data-at');
    attr(e, 'data-at', true);
  }
  down() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  scrolled() {
    const { box, rows } = this;
    if (!rows) return;
    const hi = rows.base + rows.length,
      below = box.scrollHeight - box.scrollTop - box.clientHeight;
    // Against what is drawn, not what is there: rows come in between a frame and its scroll event.
    this.follow = below < 30 && this.b >= this.hi && !rows.apart;
    if (box.scrollTop < 500) {
      if (this.a > rows.base) {
        this.a -= STEP;
        this.b = this.a + WINDOW;
      } else this.older(this.log);
    } else if (below < 500) {
      if (this.b < hi) {
        this.b += STEP;
        this.a = this.b - WINDOW;
      } else if (rows.apart) this.newer(this.log);
    }
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint(log = this.log) {
    if (!log) return;
    this.log = log;
    const { body, box } = this,
      { rows } = log,
      lo = rows.base,
      hi = (this.hi = lo + rows.length);
    if (rows !== this.rows || rows.gen !== this.gen) {
      this.rows = rows;
      this.gen = rows.gen;
      this.follow = true;
      this.at = null;
      body.replaceChildren();
    }
    if (this.follow) {
      this.b = this.seen = hi;
      this.a = Math.max(lo, hi - WINDOW);
    } else {
      this.a = Math.max(lo, Math.min(this.a, hi));
      this.b = Math.min(hi, this.a + WINDOW);
    }
    rows.keep = this.follow ? 1e15 : this.a;
    // What is being read stays where it is: remember one row, put it back after the change.
    const kids = body.children,
      keep = !this.follow && kids[Math.min(kids.length - 1, Math.max(0, this.a - this.from))],
      was = keep && keep.offsetTop - box.scrollTop;
    const want = rows.slice(this.a - lo, this.b - lo),
      wanted = new Set(want),
      free = [...kids].filter(e => !wanted.has(e.row));
    for (const e of free) e.remove();
    want.forEach((row, n) => {
      // Those that stay are in order: what is not there yet comes before the next of them.
      const e = kids[n]?.row === row ? kids[n] : body.insertBefore(free.pop() || this.make(), kids[n] || null),
        i = this.a + n,
        prev = rows[i - lo - 1];
      if (e.row === row && e.v === row.v && e.p === prev && !row.ticking && !this.anew) return;
      Object.assign(e, { row, v: row.v, p: prev });
      attr(e, 'data-at', this.at === i);
      const on = day(row.e.created_at);
      attr(e, 'data-day', (prev ? on !== day(prev.e.created_at) : other(row.e.created_at)) ? on : null);
      this.fill(e, row, prev);
    });
    this.from = this.a;
    this.anew = false;
    if (this.follow) this.down();
    else if (keep && keep.parentNode) box.scrollTop = keep.offsetTop - was;
    hide(this.jump, this.follow);
    // At the very top no scroll event comes any more: an older page that arrived is shown now.
    if (!this.follow && this.a > lo && box.scrollTop < 500) this.scrolled();
    if (!this.follow) text(this.jump, hi > this.seen ? hi - this.seen + ' new ↓' : 'Latest ↓');
  }
}
