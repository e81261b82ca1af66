// Setup: is the hub well, what did it refuse and why, which agents are known, and one row
// to try from any language: each line gets its tick when its row arrives.

import { h, text, hide } from '../dom.js';
import { state, rates, wants } from '../store.js';
import { command, offer, Tag, setTag, Item, setItem, each, tell, who } from '../parts.js';
import { num, size, safe, line, clock, dur, base, url } from '../format.js';

const REASONS = 20,
  AGENTS = 500,
  OPENED = Date.now();
/** Whatever the hub says of itself, in words. */
const said = (k, v) =>
  v && typeof v === 'object'
    ? Object.entries(v)
        .map(([k, v]) => `${k.replace(/_/g, ' ')} ${said(k, v)}`)
        .join(' · ') || 'none'
    : /size$/.test(k)
      ? size(v)
      : k === 'uptime_ms'
        ? dur(v / 1e3)
        : safe(v, 300);

export default function setup() {
  const facts = h('dl.table'),
    lag = h('dl.big'),
    rejected = h('ul.plain'),
    agents = h('ul.lines', { tabindex: 0, 'aria-label': 'Agents seen' }),
    trouble = h('p.wrong', { role: 'alert' }),
    refused = h('section', h('h2', 'Rejected rows'), rejected);
  const count = h('span.facts'),
    ways = h('div'),
    tries = h('div');
  let ticks = [];
  const root = h(
    'div.setup',
    h('header.head', h('h1', 'Setup')),
    trouble,
    h(
      'div.columns',
      h('section', h('h2', 'From a row to this page'), lag, h('p.facts', 'Measured here, over the last 200 rows.')),
      h('section', h('h2', 'The hub'), facts),
      refused,
      h('section', h('h2', 'Agents seen', count), agents),
      h('section', h('h2', 'Connect agents'), ways),
      h('section', h('h2', 'Try it from anywhere'), h('p.facts', 'The tick comes with the row.'), tries)
    )
  );
  let asked = 0,
    drawn = 0;

  const pairs = (dl, list) => {
    if (dl.was === (dl.was = JSON.stringify(list))) return;
    dl.replaceChildren(...list.map(([k, v, tone]) => h('div', { 'data-tone': tone }, h('dt', k), h('dd', v))));
  };

  function tried(about, cmd, from) {
    const tag = Tag(),
      it = command(about, cmd);
    it.firstChild.append(' ', tag);
    ticks.push({ from, tag });
    return it;
  }

  function draw() {
    if (state.loaded && tries.of !== state.commands) {
      ticks = [];
      offer(ways, ['init', 'doctor'], command);
      offer(
        tries,
        [...state.commands.keys()].filter(k => state.commands.get(k)[2]),
        tried
      );
    }
    const s = state.status,
      lags = [...state.lags].sort((a, b) => a - b),
      at = f => (lags.length ? Math.max(0, lags[Math.min(lags.length - 1, Math.floor(f * lags.length))]) + ' ms' : '–');
    pairs(lag, [
      ['Half within', at(0.5)],
      ['95 of 100', at(0.95)],
      ['Events now', num(rates[58]) + '/s']
    ]);
    for (const t of ticks) setTag(t.tag, state.agents.get(t.from)?.last_active_at > OPENED ? 'arrived' : '');
    const seen = [...state.agents.values()].sort((a, b) => b.last_active_at - a.last_active_at);
    text(count, num(seen.length));
    each(agents, seen.slice(0, AGENTS), Item, (e, a) => setItem(e, url('inbox', a.id), a.id, who(a.id), '', base(a.workspace), a.last_active_at));
    if (!s) return;
    const { trouble: why, rejected: bad, db, watcher, limits, epoch, pos, ...rest } = s;
    tell(trouble, why && `The hub is not well (${safe(s.state, 40)}): ${safe(why.message, 400)}`);
    pairs(
      facts,
      Object.entries({ ...db, ...rest, ...watcher }).map(([k, v]) => [k.replace(/_/g, ' '), said(k, v), k === 'state' && (v === 'ok' ? 'ok' : 'bad')])
    );
    hide(refused, !bad.length);
    const rows = bad.slice(-REASONS).map(r => `${r.table}, row ${r.row}: ${r.reason} (${clock(r.at)})`);
    if (rejected.was !== (rejected.was = rows.join('\n'))) rejected.replaceChildren(...rows.map(r => h('li', line(r, 400))));
  }

  return {
    root,
    title: 'Setup',
    paint() {
      const now = Date.now();
      // Counting every row is work for the hub: not on every tick.
      if (now - asked > 5000) {
        asked = now;
        wants.status();
      }
      if (now - drawn > 900) {
        drawn = now;
        draw();
      }
    }
  };
}
