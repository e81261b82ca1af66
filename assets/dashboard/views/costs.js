// Costs: what the agents' own totals say, by agent, model or workspace, today or over days.
// Sums are the hub's (/api/costs); every picture has its table; what has no price is said.

import { h, text, hide, attr, svg } from '../dom.js';
import { state, kept, keep, touch } from '../store.js';
import { costs as ask } from '../sync.js';
import { Mark, setMark, Chips, field, tell, save, button } from '../parts.js';
import { num, money, safe, line } from '../format.js';
import { enc, query } from '../api.js';

const RANGES = { Today: 1, '7 days': 7, '30 days': 30 }, BYS = ['Agent', 'Model', 'Workspace'];
const FIELDS = ['tokens_in', 'tokens_cached', 'tokens_out', 'cost', 'unpriced_tokens'], HEAD = ['Tokens in', 'of it cached', 'Tokens out', 'Cost', 'Without price'];
const all = i => i.tokens_in + i.tokens_out, parts = i => [i.tokens_in - i.tokens_cached, i.tokens_cached, i.tokens_out];
const share = (n, of) => (n ? Math.max(1, Math.round(100 * n / of)) + ' %' : '–');
const cells = i => [...FIELDS.slice(0, 3).map(f => num(i[f])), money(i.cost), share(i.unpriced_tokens, all(i))];
const day = back => { const d = new Date(); d.setHours(0, 0, 0, 0); d.setDate(d.getDate() - back); return d; };
const name = d => [d.getFullYear(), d.getMonth() + 1, d.getDate()].map(n => String(n).padStart(2, '0')).join('-');

const table = (caption, head, rows) => h('div.scroll', { tabindex: 0, role: 'group', 'aria-label': caption }, h('table', h('caption', caption), h('thead', h('tr', ...head.map(c => h('th', { scope: 'col' }, c)))),
  h('tbody', ...rows.map(([first, ...rest]) => h('tr', h('th', { scope: 'row' }, first), ...rest.map(c => h('td', c)))))));
const chart = (label, high, ...paths) => svg('svg', { class: high > 9 ? 'chart' : 'stack', viewBox: '0 0 100 ' + high, preserveAspectRatio: 'none', ...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': 'true' }) }, ...paths.map(([c, d]) => svg('path', { class: c, d })));

/** Fresh, cached and written tokens of each day on top of one another. */
function stacks(days) {
  const top = Math.max(1, ...days.map(all)), w = 100 / days.length, d = ['', '', ''];
  days.forEach((it, i) => parts(it).reduce((y, n, j) => { const high = n / top * 38; d[j] += `M${(i + 0.15) * w} ${y}v${-high}h${w * 0.7}v${high}z`; return y - high; }, 40));
  return chart('Tokens a day; the table “Every day” has the figures', 40, ...d.map((d, i) => ['t' + i, d]));
}
/** The cost so far, day by day, and the budget as a line to stay under. */
function climb(days, budget) {
  let sum = 0, d = 'M0 40';
  const total = days.reduce((n, i) => n + i.cost, 0), y = v => 40 - v / (Math.max(total, budget, 0.01) * 1.08) * 40;
  days.forEach((it, i) => { d += `L${(i + 1) / days.length * 100} ${y(sum += it.cost)}`; });
  return chart('Cost so far: ' + money(total), 40, ['area', d + 'V40z'], ['line', d], ['budget', budget ? `M0 ${y(budget)}H100` : '']);
}

export default function costs() {
  let range, by, data, asked = 0, error = '';
  const spans = Chips('Range'), bys = Chips('By'), big = h('dl.big'), hint = h('p.hint'), said = h('p.facts'), body = h('div.body');
  const budget = h('input', { type: 'number', min: 0, step: 'any', placeholder: 'none', onchange() { keep('budget', +this.value || 0); draw(); } }), csv = button('CSV', file);
  budget.value = kept('budget') || '';
  const root = h('div.costs', h('header.head', h('h1', 'Costs'), spans, bys, field('Budget $', budget), csv), hint, big, said, body);

  async function load() {
    const key = range + by, since = +day(RANGES[range] - 1);
    asked = Date.now();
    try {
      const [groups, days] = (await Promise.all([ask(by.toLowerCase(), since), ask('day', since)])).map(r => r.items);
      if (key !== range + by) return;
      data = { groups: groups.sort((a, b) => b.cost - a.cost || all(b) - all(a)), days, key };
      error = '';
      draw();
    } catch (e) { error = 'The costs could not be read: ' + e.message; }
    touch('tick');
  }
  function file() {
    const rows = [[by, ...FIELDS], ...data.groups.map(i => ['"' + i.key.replace(/"/g, '""') + '"', ...FIELDS.map(f => i[f])])];
    save(`agenthub costs ${by} ${range}.csv`, rows.join('\r\n'));
  }

  function draw() {
    const n = RANGES[range], limit = +budget.value || 0, { groups } = data, sum = {}, had = new Map(data.days.map(d => [d.key, d]));
    if (body.was === (body.was = JSON.stringify([data, limit, name(day(0))]))) return;
    for (const f of FIELDS) sum[f] = groups.reduce((n, i) => n + i[f], 0);
    const days = Array.from({ length: n }, (_, i) => { const key = name(day(n - 1 - i)); return had.get(key) || { key, tokens_in: 0, tokens_cached: 0, tokens_out: 0, cost: 0, unpriced_tokens: 0 }; });
    const top = Math.max(1, ...groups.map(all)), dear = [...state.tasks.values()].filter(k => k.cost > 0 && k.updated_at >= +day(n - 1)).sort((a, b) => b.cost - a.cost).slice(0, 10);
    const label = i => {
      const m = Mark();
      let x = 0;
      setMark(m, i.key);
      return h('span.who', m, h('span', safe(i.key, 80) || 'not said'), chart('', 6, ...parts(i).map((n, j) => ['t' + j, `M${x} 0H${x += n / top * 100}V6H${x - n / top * 100}z`])));
    };
    big.replaceChildren(...[['Cost', money(sum.cost)], ...limit ? [['of the budget', share(sum.cost, limit)]] : [], ['Tokens in', num(sum.tokens_in)], ['of it cached', share(sum.tokens_cached, sum.tokens_in)], ['Tokens out', num(sum.tokens_out)]].map(([k, v]) => h('div', h('dt', k), h('dd', v))));
    attr(big, 'data-tone', limit && sum.cost > limit ? 'bad' : null);
    text(said, !groups.length ? 'No use was reported in this time.' : sum.unpriced_tokens ? `${share(sum.unpriced_tokens, all(sum))} of the tokens have no price: their cost is not in these sums.` : 'Every token has its price.');
    body.replaceChildren(
      ...n > 1 ? [h('div.charts', h('figure', h('figcaption', 'Cost so far' + (limit ? ` and the budget of ${money(limit)}` : '')), climb(days, limit)),
        h('figure', h('figcaption', 'Tokens a day:', ...['fresh', 'cached', 'out'].map((w, j) => h('span', { class: 'key t' + j }, w))), stacks(days)))] : [],
      ...groups.length ? [table('By ' + by.toLowerCase(), [by, ...HEAD], groups.map(i => [label(i), ...cells(i)]))] : [],
      ...dear.length ? [table('Most expensive tasks', ['Task', 'Agent', 'Turns', 'Cost'], dear.map(k => [h('a', { href: '#/tasks/' + enc(k.task_id) }, line(k.directive || k.task_id, 80)), safe(k.agent_id, 60), num(k.turns), money(k.cost)]))] : [],
      ...n > 1 ? [h('details', h('summary', 'Every day'), table('By day', ['Day', ...HEAD], days.map(d => [d.key, ...cells(d)])))] : [],
    );
  }

  return {
    root, title: 'Costs',
    route(_, params) {
      const get = (k, of) => of.includes(params.get(k)) ? params.get(k) : of[0], names = Object.keys(RANGES);
      range = get('range', names); by = get('by', BYS); asked = 0;
      spans.set(names.map(r => [r, '#/costs' + query({ range: r, by }), r === range]));
      bys.set(BYS.map(b => [b, '#/costs' + query({ range, by: b }), b === by]));
    },
    paint(dirty) {
      // New sums when something was reported, and now and then.
      if (state.loaded && Date.now() - asked > (dirty.has('costs') && !error ? 2000 : 30000)) load();
      const shown = data?.key === range + by;
      tell(hint, error || (shown ? '' : 'Adding up…'));
      for (const e of [body, big, said]) hide(e, !shown);
      csv.disabled = !shown;
    },
  };
}
