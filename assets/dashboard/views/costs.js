// Costs: the totals that agents report, by agent, model or workspace, for today or several days.
// The hub adds them up (/api/costs). Every chart has a table; tokens without a price are shown.

import { element, setText, setHidden, setTextOrHide, setAttribute, drawing } from '../dom.js';
import { state, invalidate, KEPT_ITEMS } from '../store.js';
import { fetchCosts, loadForSearch } from '../sync.js';
import { Initials, setInitials, Chips, Field, download, button } from '../components.js';
import { agentAuthor, agentName } from '../authors.js';
import { formatCount, formatMoney, formatDateTime } from '../format.js';
import { routeTo, queryString } from '../routes.js';
import { safeText, oneLine } from '../safe_text.js';
import { loadSetting, saveSetting } from '../storage.js';

const RANGE_DAYS = { Today: 1, '7 days': 7, '30 days': 30 };
const GROUPINGS = ['Agent', 'Model', 'Workspace'];
const SUM_FIELDS = ['tokens_in', 'tokens_cached', 'tokens_out', 'cost', 'unpriced_tokens'];
const MOST_EXPENSIVE_TASKS = 10;
const REFRESH_MS = 30000;
const REFRESH_AFTER_REPORT_MS = 2000;

const totalTokens = sums => sums.tokens_in + sums.tokens_out;
/** Uncached, cached and output tokens: the three parts of every bar. */
const tokenParts = sums => [sums.tokens_in - sums.tokens_cached, sums.tokens_cached, sums.tokens_out];
const TOKEN_PARTS = ['uncached', 'cached', 'output'];
const formatShare = (part, whole) => (part ? Math.max(1, Math.round((100 * part) / whole)) + '%' : '–');

function startOfDay(daysAgo) {
  const date = new Date();
  date.setHours(0, 0, 0, 0);
  date.setDate(date.getDate() - daysAgo);
  return date;
}

/** Returns the hub's keys of the intervals of a range: the days, or the hours of a single day. */
function intervalKeys(days) {
  if (days > 1) {
    return Array.from({ length: days }, (_, i) => formatDateTime(startOfDay(days - 1 - i)).slice(0, 10));
  }
  const hours = Array.from({ length: new Date().getHours() + 1 }, (_, hour) =>
    formatDateTime(new Date().setHours(hour, 0)).slice(0, 16)
  );
  // When daylight saving time starts, two hours have the same key.
  return [...new Set(hours)];
}
const intervalUnit = days => (days > 1 ? 'day' : 'hour');

// ---- tables: a column is [heading, field of the CSV file, content of a cell] ----

const SUM_COLUMNS = [
  ['Tokens in', 'tokens_in', sums => formatCount(sums.tokens_in)],
  ['Cached', 'tokens_cached', sums => formatCount(sums.tokens_cached)],
  ['Tokens out', 'tokens_out', sums => formatCount(sums.tokens_out)],
  ['Cost', 'cost', sums => formatMoney(sums.cost)],
  ['Unpriced', 'unpriced_tokens', sums => formatShare(sums.unpriced_tokens, totalTokens(sums))]
];
const TASK_COLUMNS = [
  [
    'Task',
    'directive',
    task => element('a', { href: routeTo('tasks', task.task_id) }, oneLine(task.directive || task.task_id, 80))
  ],
  ['Agent', 'agent_id', task => safeText(task.agent_id, 60)],
  ['Turns', 'turns', task => formatCount(task.turns)],
  ['Cost', 'cost', task => formatMoney(task.cost)]
];

/** Quotes a CSV cell; a leading apostrophe keeps spreadsheets from running it as a formula. */
function csvCell(value) {
  if (typeof value === 'number') return value;
  const text = String(value ?? '')
    .replace(/^[=+\-@\t\r]/, "'$&")
    .replace(/"/g, '""');
  return `"${text}"`;
}

function Table(caption, columns, items, range) {
  const downloadCsv = () => {
    const lines = [
      columns.map(([heading]) => heading),
      ...items.map(item => columns.map(([, field]) => csvCell(item[field])))
    ];
    download(`agenthub ${caption}, ${range}.csv`, lines.join('\r\n'));
  };
  const csvButton = button('CSV', downloadCsv);
  setAttribute(csvButton, 'aria-label', 'Download CSV: ' + caption);
  const cells = item =>
    columns.map(([, , content], i) => element(i ? 'td' : 'th', i ? {} : { scope: 'row' }, content(item)));
  return element(
    'div.scroll',
    { tabindex: 0, role: 'group', 'aria-label': caption },
    element(
      'table',
      element('caption', caption, csvButton),
      element('thead', element('tr', ...columns.map(([heading]) => element('th', { scope: 'col' }, heading)))),
      element('tbody', ...items.map(item => element('tr', ...cells(item))))
    )
  );
}

// ---- charts ----

const CHART_HEIGHT = 40;

/** A chart with its scale as text: the first interval, the highest value, the last interval. */
function Chart(caption, label, intervals, highest, paths) {
  const scale = [intervals[0].key, 'max ' + highest, intervals.at(-1).key].map(text => element('span', text));
  return element(
    'figure',
    element('figcaption', ...caption),
    drawing('chart', '100 ' + CHART_HEIGHT, label, ...paths),
    element('p.axis', ...scale)
  );
}

/** The tokens of each interval as stacked bars. */
function TokenChart(intervals) {
  const highest = Math.max(1, ...intervals.map(totalTokens));
  const width = 100 / intervals.length;
  const paths = ['', '', ''];
  intervals.forEach((interval, i) => {
    let y = CHART_HEIGHT;
    tokenParts(interval).forEach((tokens, part) => {
      const height = (tokens / highest) * (CHART_HEIGHT - 2);
      paths[part] += `M${(i + 0.15) * width} ${y}v${-height}h${width * 0.7}v${height}z`;
      y -= height;
    });
  });
  const legend = TOKEN_PARTS.map((name, part) => element('span.legend series-' + part, name));
  return Chart(
    ['Tokens:', ...legend],
    'Tokens over time; the last table has the values',
    intervals,
    formatCount(highest),
    paths.map((d, part) => ({ class: 'series-' + part, d }))
  );
}

/** The cumulative cost, with the budget as a line. */
function CostChart(intervals, budget) {
  const total = intervals.reduce((sum, interval) => sum + interval.cost, 0);
  const highest = Math.max(total, budget, 0.01) * 1.08;
  const y = cost => CHART_HEIGHT - (cost / highest) * CHART_HEIGHT;
  let sum = 0;
  let line = 'M0 ' + CHART_HEIGHT;
  intervals.forEach((interval, i) => {
    sum += interval.cost;
    line += `L${((i + 1) / intervals.length) * 100} ${y(sum)}`;
  });
  return Chart(
    [budget ? `Cumulative cost; budget ${formatMoney(budget)}` : 'Cumulative cost'],
    'Cumulative cost: ' + formatMoney(total),
    intervals,
    formatMoney(Math.max(total, budget)),
    [
      { class: 'cost-area', d: line + `V${CHART_HEIGHT}z` },
      { class: 'cost-line', d: line },
      { class: 'budget', d: budget ? `M0 ${y(budget)}H100` : '' }
    ]
  );
}

/** Returns a function that renders a group's name with its tokens as a bar. */
const groupLabel = highest => group => {
  const initials = Initials();
  setInitials(initials, agentAuthor(group.key));
  let x = 0;
  const paths = tokenParts(group).map((tokens, part) => {
    const start = x;
    x += (tokens / highest) * 100;
    return { class: 'series-' + part, d: `M${start} 0H${x}V6H${start}z` };
  });
  const name = element('span', group.key ? agentName(oneLine(group.key, 80)) : 'unspecified');
  return element('span.agent-cell', initials, name, drawing('token-bar', '100 6', '', ...paths));
};

export default function costs() {
  let range;
  let grouping;
  let data;
  let requestedAt = 0;
  let error = '';
  const rangeChips = Chips('Range');
  const groupingChips = Chips('Group by');
  const figures = element('dl.figures');
  const hint = element('p.hint');
  const pricing = element('p.facts');
  const body = element('div.cost-tables');
  const budgetInput = element('input', {
    type: 'number',
    min: 0,
    step: 'any',
    placeholder: 'none',
    onchange() {
      saveSetting('budget ' + range, +this.value || 0);
      draw();
    }
  });
  const root = element(
    'div.costs',
    element('header.view-header', element('h1', 'Costs'), rangeChips, groupingChips, Field('Budget $', budgetInput)),
    hint,
    figures,
    pricing,
    body
  );

  async function load() {
    const key = range + grouping;
    const since = +startOfDay(RANGE_DAYS[range] - 1);
    requestedAt = Date.now();
    try {
      const [groups, intervals] = await Promise.all([
        fetchCosts(grouping.toLowerCase(), since),
        fetchCosts(intervalUnit(RANGE_DAYS[range]), since)
      ]);
      if (key !== range + grouping) return;
      const sorted = groups.items.sort((a, b) => b.cost - a.cost || totalTokens(b) - totalTokens(a));
      data = { groups: sorted, intervals: intervals.items, key };
      error = '';
      draw();
    } catch (e) {
      error = 'Couldn’t load the costs: ' + e.message;
    }
    invalidate('all');
  }

  function draw() {
    const days = RANGE_DAYS[range];
    const budget = +budgetInput.value || 0;
    const { groups } = data;
    const hasMoreTasks = loadForSearch('tasks');
    const expensiveTasks = [...state.tasks.values()]
      .filter(task => task.cost > 0 && task.updated_at >= +startOfDay(days - 1))
      .sort((a, b) => b.cost - a.cost)
      .slice(0, MOST_EXPENSIVE_TASKS);
    const shownTasks = expensiveTasks.map(task => [task.task_id, task.cost]);
    const signature = JSON.stringify([data, budget, +startOfDay(0), shownTasks, hasMoreTasks]);
    if (body.signature === signature) return;
    body.signature = signature;
    const sums = {};
    for (const field of SUM_FIELDS) sums[field] = groups.reduce((sum, group) => sum + group[field], 0);
    drawFigures(sums, budget);
    setText(pricing, pricingText(groups, sums));
    const reported = new Map(data.intervals.map(interval => [interval.key, interval]));
    const zero = Object.fromEntries(SUM_FIELDS.map(field => [field, 0]));
    const intervals = intervalKeys(days).map(key => reported.get(key) || { key, ...zero });
    const unit = intervalUnit(days);
    const sections = [element('div.charts', CostChart(intervals, budget), TokenChart(intervals))];
    if (groups.length) {
      const label = groupLabel(Math.max(1, ...groups.map(totalTokens)));
      sections.push(Table('By ' + grouping.toLowerCase(), [[grouping, 'key', label], ...SUM_COLUMNS], groups, range));
    }
    if (expensiveTasks.length) {
      const scope = hasMoreTasks ? ` (newest ${formatCount(KEPT_ITEMS)} only)` : '';
      sections.push(Table('Most expensive tasks' + scope, TASK_COLUMNS, expensiveTasks, range));
    }
    const heading = unit === 'day' ? 'Day' : 'Hour';
    const intervalTable = Table('By ' + unit, [[heading, 'key', i => i.key], ...SUM_COLUMNS], intervals, range);
    sections.push(
      element('details', element('summary', unit === 'day' ? 'Daily values' : 'Hourly values'), intervalTable)
    );
    body.replaceChildren(...sections);
  }

  function drawFigures(sums, budget) {
    const pairs = [
      ['Cost', formatMoney(sums.cost)],
      ...(budget ? [['Budget used', formatShare(sums.cost, budget)]] : []),
      ['Tokens in', formatCount(sums.tokens_in)],
      ['Cached', formatShare(sums.tokens_cached, sums.tokens_in)],
      ['Tokens out', formatCount(sums.tokens_out)]
    ];
    figures.replaceChildren(
      ...pairs.map(([label, value]) => element('div', element('dt', label), element('dd', value)))
    );
    setAttribute(figures, 'data-tone', budget && sums.cost > budget ? 'bad' : null);
  }

  function pricingText(groups, sums) {
    if (!groups.length) return 'No usage in this period.';
    if (!sums.unpriced_tokens) return 'All tokens are priced.';
    const share = formatShare(sums.unpriced_tokens, totalTokens(sums));
    return `${share} of tokens have no known price; totals exclude them.`;
  }

  return {
    root,
    title: 'Costs',
    route(_, params) {
      const choice = (name, allowed) => (allowed.includes(params.get(name)) ? params.get(name) : allowed[0]);
      const ranges = Object.keys(RANGE_DAYS);
      range = choice('range', ranges);
      grouping = choice('by', GROUPINGS);
      requestedAt = 0;
      budgetInput.value = loadSetting('budget ' + range) || '';
      const href = values => '#/costs' + queryString({ range, by: grouping, ...values });
      rangeChips.set(ranges.map(name => ({ label: name, href: href({ range: name }), isCurrent: name === range })));
      groupingChips.set(
        GROUPINGS.map(name => ({ label: name, href: href({ by: name }), isCurrent: name === grouping }))
      );
    },
    render(topics) {
      const maxAge = topics.has('costs') && !error ? REFRESH_AFTER_REPORT_MS : REFRESH_MS;
      if (state.loaded && Date.now() - requestedAt > maxAge) load();
      const isLoaded = data?.key === range + grouping;
      if (isLoaded && topics.has('tasks')) draw();
      setTextOrHide(hint, error || (isLoaded ? '' : 'Loading…'));
      for (const node of [body, figures, pricing]) setHidden(node, !isLoaded);
    }
  };
}
