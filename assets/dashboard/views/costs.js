// Costs: what the agents' own totals say, by agent, model or workspace, today or over days.
// Sums are the hub's (/api/costs); every picture has its table; what has no price is said.

import { h, text, hide, attr, picture } from '../dom.js';
import { state, touch, KEPT } from '../store.js';
import { costs as ask, seek } from '../sync.js';
import { Mark, setMark, Chips, field, tell, save, button } from '../parts.js';
import { num, money, safe, line, stamp, url, query } from '../format.js';
import { kept, keep } from '../api.js';

const RANGES = { Today: 1, '7 days': 7, '30 days': 30 },
  BYS = ['Agent', 'Model', 'Workspace'];
const FIELDS = ['tokens_in', 'tokens_cached', 'tokens_out', 'cost', 'unpriced_tokens'];
const all = i => i.tokens_in + i.tokens_out,
  parts = i => [i.tokens_in - i.tokens_cached, i.tokens_cached, i.tokens_out];
const share = (n, of) => (n ? Math.max(1, Math.round((100 * n) / of)) + ' %' : '–');
const day = back => {
  const d = new Date();
  d.setHours(0, 0, 0, 0);
  d.setDate(d.getDate() - back);
  return d;
};
/** What a range is shown in, as the hub names it: a day in hours, more in days. */
const steps = n =>
  n > 1
    ? Array.from({ length: n }, (_, i) => stamp(day(n - 1 - i)).slice(0, 10))
    : // When clocks go forward two hours are one.
      [...new Set(Array.from({ length: new Date().getHours() + 1 }, (_, i) => stamp(new Date().setHours(i, 0)).slice(0, 16)))];
const unit = n => (n > 1 ? 'day' : 'hour');

// ---- tables: a column is [head, field, what is shown] ----

const SUMS = [
  ['Tokens in', FIELDS[0], i => num(i.tokens_in)],
  ['of it cached', FIELDS[1], i => num(i.tokens_cached)],
  ['Tokens out', FIELDS[2], i => num(i.tokens_out)],
  ['Cost', FIELDS[3], i => money(i.cost)],
  ['Without price', FIELDS[4], i => share(i.unpriced_tokens, all(i))]
];
const TASKS = [
  ['Task', 'directive', k => h('a', { href: url('tasks', k.task_id) }, line(k.directive || k.task_id, 80))],
  ['Agent', 'agent_id', k => safe(k.agent_id, 60)],
  ['Turns', 'turns', k => num(k.turns)],
  ['Cost', 'cost', k => money(k.cost)]
];

/** A cell no spreadsheet takes for a formula. */
const cell = v =>
  typeof v === 'number'
    ? v
    : '"' +
      String(v ?? '')
        .replace(/^[=+\-@\t\r]/, "'$&")
        .replace(/"/g, '""') +
      '"';
function table(caption, cols, items, range) {
  const csv = button('CSV', () =>
    save(`agenthub ${caption}, ${range}.csv`, [cols.map(c => c[0]), ...items.map(i => cols.map(c => cell(i[c[1]])))].join('\r\n'))
  );
  attr(csv, 'aria-label', 'CSV: ' + caption);
  return h(
    'div.scroll',
    { tabindex: 0, role: 'group', 'aria-label': caption },
    h(
      'table',
      h('caption', caption, csv),
      h('thead', h('tr', ...cols.map(c => h('th', { scope: 'col' }, c[0])))),
      h('tbody', ...items.map(i => h('tr', ...cols.map((c, n) => h(n ? 'td' : 'th', n ? {} : { scope: 'row' }, c[2](i))))))
    )
  );
}

// ---- charts ----

/** A chart with its scale in words: the first and the last day, and how high it goes. */
function chart(caption, label, days, top, paths) {
  const axis = [days[0].key, 'up to ' + top, days.at(-1).key].map(s => h('span', s));
  return h('figure', h('figcaption', ...caption), picture('chart', '100 40', label, ...paths), h('p.axis', ...axis));
}
/** Fresh, cached and written tokens of each day or hour on top of one another. */
function stacks(days) {
  const top = Math.max(1, ...days.map(all)),
    w = 100 / days.length,
    d = ['', '', ''];
  days.forEach((it, i) =>
    parts(it).reduce((y, n, j) => {
      const high = (n / top) * 38;
      d[j] += `M${(i + 0.15) * w} ${y}v${-high}h${w * 0.7}v${high}z`;
      return y - high;
    }, 40)
  );
  const keys = ['fresh', 'cached', 'out'].map((w, j) => h('span.key t' + j, w));
  return chart(
    ['Tokens:', ...keys],
    'Tokens over time, as in the last table',
    days,
    num(top),
    d.map((d, i) => ({ class: 't' + i, d }))
  );
}
/** The cost so far, day by day, and the budget as a line to stay under. */
function climb(days, budget) {
  let sum = 0,
    d = 'M0 40';
  const total = days.reduce((n, i) => n + i.cost, 0),
    y = v => 40 - (v / (Math.max(total, budget, 0.01) * 1.08)) * 40;
  days.forEach((it, i) => {
    d += `L${((i + 1) / days.length) * 100} ${y((sum += it.cost))}`;
  });
  return chart(
    ['Cost so far' + (budget ? ` and the budget of ${money(budget)}` : '')],
    'Cost so far: ' + money(total),
    days,
    money(Math.max(total, budget)),
    [
      { class: 'area', d: d + 'V40z' },
      { class: 'line', d },
      { class: 'budget', d: budget ? `M0 ${y(budget)}H100` : '' }
    ]
  );
}
/** A group's name with its tokens as a bar. */
const label = top => i => {
  const m = Mark();
  let x = 0;
  setMark(m, i.key);
  const paths = parts(i).map((n, j) => ({ class: 't' + j, d: `M${x} 0H${(x += (n / top) * 100)}V6H${x - (n / top) * 100}z` })),
    bar = picture('stack', '100 6', '', ...paths);
  return h('span.who', m, h('span', line(i.key, 80) || 'not said'), bar);
};

export default function costs() {
  let range,
    by,
    data,
    asked = 0,
    error = '';
  const spans = Chips('Range'),
    bys = Chips('By'),
    big = h('dl.big'),
    hint = h('p.hint'),
    said = h('p.facts'),
    body = h('div.body');
  const budget = h('input', {
    type: 'number',
    min: 0,
    step: 'any',
    placeholder: 'none',
    onchange() {
      keep('budget ' + range, +this.value || 0);
      draw();
    }
  });
  const root = h('div.costs', h('header.head', h('h1', 'Costs'), spans, bys, field('Budget $', budget)), hint, big, said, body);

  async function load() {
    const key = range + by,
      since = +day(RANGES[range] - 1);
    asked = Date.now();
    try {
      const [groups, days] = (await Promise.all([ask(by.toLowerCase(), since), ask(unit(RANGES[range]), since)])).map(r => r.items);
      if (key !== range + by) return;
      data = { groups: groups.sort((a, b) => b.cost - a.cost || all(b) - all(a)), days, key };
      error = '';
      draw();
    } catch (e) {
      error = 'The costs could not be read: ' + e.message;
    }
    touch('all');
  }

  function draw() {
    const n = RANGES[range],
      limit = +budget.value || 0,
      { groups } = data,
      sum = {},
      had = new Map(data.days.map(d => [d.key, d])),
      cut = seek('tasks');
    const dear = [...state.tasks.values()]
      .filter(k => k.cost > 0 && k.updated_at >= +day(n - 1))
      .sort((a, b) => b.cost - a.cost)
      .slice(0, 10);
    if (body.was === (body.was = JSON.stringify([data, limit, +day(0), dear.map(k => [k.task_id, k.cost]), cut]))) return;
    for (const f of FIELDS) sum[f] = groups.reduce((n, i) => n + i[f], 0);
    const days = steps(n).map(key => had.get(key) || { key, ...Object.fromEntries(FIELDS.map(f => [f, 0])) });
    const figures = [
      ['Cost', money(sum.cost)],
      ...(limit ? [['of the budget', share(sum.cost, limit)]] : []),
      ['Tokens in', num(sum.tokens_in)],
      ['of it cached', share(sum.tokens_cached, sum.tokens_in)],
      ['Tokens out', num(sum.tokens_out)]
    ];
    big.replaceChildren(...figures.map(([k, v]) => h('div', h('dt', k), h('dd', v))));
    attr(big, 'data-tone', limit && sum.cost > limit ? 'bad' : null);
    text(
      said,
      !groups.length
        ? 'No use was reported in this time.'
        : sum.unpriced_tokens
          ? `${share(sum.unpriced_tokens, all(sum))} of the tokens have no price: their cost is not in these sums.`
          : 'Every token has its price.'
    );
    body.replaceChildren(
      h('div.charts', climb(days, limit), stacks(days)),
      ...(groups.length ? [table('By ' + by.toLowerCase(), [[by, 'key', label(Math.max(1, ...groups.map(all)))], ...SUMS], groups, range)] : []),
      ...(dear.length ? [table('Most expensive tasks' + (cut ? ` of the newest ${num(KEPT)}` : ''), TASKS, dear, range)] : []),
      h('details', h('summary', 'Every ' + unit(n)), table('By ' + unit(n), [['From', 'key', i => i.key], ...SUMS], days, range))
    );
  }

  return {
    root,
    title: 'Costs',
    route(_, params) {
      const get = (k, of) => (of.includes(params.get(k)) ? params.get(k) : of[0]),
        names = Object.keys(RANGES);
      range = get('range', names);
      by = get('by', BYS);
      asked = 0;
      budget.value = kept('budget ' + range) || '';
      spans.set(names.map(r => [r, '#/costs' + query({ range: r, by }), r === range]));
      bys.set(BYS.map(b => [b, '#/costs' + query({ range, by: b }), b === by]));
    },
    paint(dirty) {
      // New sums when something was reported, and now and then.
      if (state.loaded && Date.now() - asked > (dirty.has('costs') && !error ? 2000 : 30000)) load();
      const shown = data?.key === range + by;
      if (shown && dirty.has('tasks')) draw();
      tell(hint, error || (shown ? '' : 'Adding up…'));
      for (const e of [body, big, said]) hide(e, !shown);
    }
  };
}
