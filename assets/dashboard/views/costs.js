// Costs: the totals that agents report, by agent, model or workspace, for today or several days. The hub adds them up
// (/api/costs). Every chart has a table; tokens without a price are shown.

/** @import { CostGroup, CostSums, Task, View } from '../types.d.ts' */
/** @import { Column } from './costs/table.js' */

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../dom.js';
import { state } from '../store.js';
import { KEPT_ITEMS } from '../store/eviction.js';
import { invalidate } from '../store/schedule.js';
import { loadForSearch } from '../sync/lists.js';
import { fetchCosts } from '../sync/rows.js';
import { Field } from '../components/forms.js';
import { NameLink } from '../components/labels.js';
import { Chips, Pairs } from '../components/lists.js';
import { agentAuthor } from '../authors.js';
import { formatCount, formatMoney, formatDateTime, startOfDay } from '../format.js';
import { routeTo, queryString } from '../routes.js';
import { oneLine } from '../safe_text.js';
import { loadSetting, saveSetting } from '../storage.js';
import { CostChart, GroupLabel, TokenChart, totalTokens } from './costs/charts.js';
import { Table } from './costs/table.js';

/** @type {Map<string, number>} The ranges, in days. */
const RANGE_DAYS = new Map([
  ['Today', 1],
  ['7 days', 7],
  ['30 days', 30]
]);
const RANGES = [...RANGE_DAYS.keys()];
const GROUPINGS = ['Agent', 'Model', 'Workspace'];
const MOST_EXPENSIVE_TASKS = 10;
const REFRESH_MS = 30000;
const REFRESH_AFTER_REPORT_MS = 2000;
/** The lengths of the keys of a day and of an hour in an ISO 8601 time. */
const DAY_KEY_LENGTH = 10;
const HOUR_KEY_LENGTH = 16;
/** @type {CostSums} */
const ZERO = { tokens_in: 0, tokens_cached: 0, tokens_out: 0, cost: 0, unpriced_tokens: 0 };

/**
 * @param {number} part
 * @param {number} whole
 */
const formatShare = (part, whole) => (part ? Math.max(1, Math.round((100 * part) / whole)) + '%' : '–');

/**
 * Returns the hub's keys of the intervals of a range: the days, or the hours of a single day.
 * @param {number} days
 */
function intervalKeys(days) {
  if (days > 1) {
    return Array.from({ length: days }, (_, i) => formatDateTime(startOfDay(days - 1 - i)).slice(0, DAY_KEY_LENGTH));
  }
  const hours = Array.from({ length: new Date().getHours() + 1 }, (_, hour) =>
    formatDateTime(new Date().setHours(hour, 0)).slice(0, HOUR_KEY_LENGTH)
  );
  // When daylight saving time starts, two hours have the same key.
  return [...new Set(hours)];
}

/** @param {number} days */
const intervalUnit = days => (days > 1 ? 'day' : 'hour');

/** @param {CostGroup[]} groups */
function sumUp(groups) {
  const sums = { ...ZERO };
  for (const field of /** @type {(keyof CostSums)[]} */ (Object.keys(sums))) {
    sums[field] = groups.reduce((sum, group) => sum + group[field], 0);
  }
  return sums;
}

// ---- tables ----

/** @type {Column<CostGroup>[]} */
const SUM_COLUMNS = [
  { heading: 'Tokens in', field: 'tokens_in', content: sums => formatCount(sums.tokens_in) },
  { heading: 'Cached', field: 'tokens_cached', content: sums => formatCount(sums.tokens_cached) },
  { heading: 'Tokens out', field: 'tokens_out', content: sums => formatCount(sums.tokens_out) },
  { heading: 'Cost', field: 'cost', content: sums => formatMoney(sums.cost) },
  {
    heading: 'Unpriced',
    field: 'unpriced_tokens',
    content: sums => formatShare(sums.unpriced_tokens, totalTokens(sums))
  }
];
/** @param {string} id */
function agentLink(id) {
  if (!id) return '';
  const link = NameLink();
  link.set(agentAuthor(id));
  return link.root;
}

/** @type {Column<Task>[]} */
const TASK_COLUMNS = [
  {
    heading: 'Task',
    field: 'directive',
    content: task =>
      element('a', { href: routeTo('tasks', task.task_id) }, oneLine(task.directive || task.task_id, 80))
  },
  { heading: 'Agent', field: 'agent_id', content: task => agentLink(task.agent_id) },
  { heading: 'Turns', field: 'turns', content: task => formatCount(task.turns) },
  { heading: 'Cost', field: 'cost', content: task => formatMoney(task.cost) }
];

/**
 * @param {string} heading of the first column
 * @param {Column<CostGroup>['content']} content of the first column
 * @returns {Column<CostGroup>[]}
 */
const groupColumns = (heading, content) => [{ heading, field: 'key', content }, ...SUM_COLUMNS];

/**
 * Returns the tasks since a time that cost most.
 * @param {number} since
 */
const mostExpensiveTasks = since =>
  [...state.tasks.values()]
    .filter(task => task.cost > 0 && task.updated_at >= since)
    .sort((a, b) => b.cost - a.cost)
    .slice(0, MOST_EXPENSIVE_TASKS);

/**
 * @param {CostGroup[]} groups
 * @param {CostSums} sums
 */
function pricingText(groups, sums) {
  if (!groups.length) return 'No usage in this period.';
  if (!sums.unpriced_tokens) return 'All tokens are priced.';
  const share = formatShare(sums.unpriced_tokens, totalTokens(sums));
  return `${share} of tokens have no known price; totals exclude them.`;
}

/** @returns {View} */
export default function CostsView() {
  let range = RANGES[0];
  let grouping = GROUPINGS[0];
  /** @type {{ groups: CostGroup[], intervals: CostGroup[], key: string } | undefined} */
  let data;
  let requestedAt = 0;
  let error = '';
  /** What the tables were drawn from. */
  let drawnFrom = '';

  const rangeChips = Chips('Range');
  const groupingChips = Chips('Group by');
  const figures = Pairs('dl.figures');
  const hint = element('p.hint');
  const pricing = element('p.facts');
  const body = element('div.cost-tables');
  const budgetInput = element('input', {
    type: 'number',
    min: 0,
    step: 'any',
    placeholder: 'none',
    onchange() {
      saveSetting('budget ' + range, budget());
      if (data) draw(data);
    }
  });
  const root = element(
    'div.costs',
    element(
      'header.view-header',
      element('h1', 'Costs'),
      rangeChips.root,
      groupingChips.root,
      Field('Budget $', budgetInput)
    ),
    hint,
    figures.root,
    pricing,
    body
  );

  const days = () => RANGE_DAYS.get(range) || 1;
  const budget = () => Number(budgetInput.value) || 0;
  const wantedKey = () => range + grouping;

  async function load() {
    const key = wantedKey();
    const since = startOfDay(days() - 1);
    requestedAt = Date.now();
    try {
      const [groups, intervals] = await Promise.all([
        fetchCosts(grouping.toLowerCase(), since),
        fetchCosts(intervalUnit(days()), since)
      ]);
      if (key !== wantedKey()) return;
      groups.items.sort((a, b) => b.cost - a.cost || totalTokens(b) - totalTokens(a));
      data = { groups: groups.items, intervals: intervals.items, key };
      error = '';
      draw(data);
    } catch (e) {
      error = 'Couldn’t load the costs: ' + /** @type {Error} */ (e).message;
    }
    invalidate('all');
  }

  /**
   * Draws the charts and tables again if anything they show has changed.
   * @param {NonNullable<typeof data>} shown
   */
  function draw(shown) {
    const hasMoreTasks = loadForSearch('tasks');
    const tasks = mostExpensiveTasks(startOfDay(days() - 1));
    const shownTasks = tasks.map(task => [task.task_id, task.cost]);
    const source = JSON.stringify([shown, budget(), startOfDay(), shownTasks, hasMoreTasks]);
    if (drawnFrom === source) return;
    drawnFrom = source;
    const { groups } = shown;
    const sums = sumUp(groups);
    drawFigures(sums);
    setText(pricing, pricingText(groups, sums));
    const reported = new Map(shown.intervals.map(interval => [interval.key, interval]));
    const intervals = intervalKeys(days()).map(key => reported.get(key) || { key, ...ZERO });
    const sections = [element('div.charts', CostChart(intervals, budget()), TokenChart(intervals))];
    if (groups.length) {
      const columns = groupColumns(grouping, GroupLabel(groups));
      sections.push(Table('By ' + grouping.toLowerCase(), columns, groups, range));
    }
    if (tasks.length) {
      const scope = hasMoreTasks ? ` (newest ${formatCount(KEPT_ITEMS)} only)` : '';
      sections.push(Table('Most expensive tasks' + scope, TASK_COLUMNS, tasks, range));
    }
    body.replaceChildren(...sections, IntervalTable(intervals));
  }

  /** @param {CostGroup[]} intervals */
  function IntervalTable(intervals) {
    const unit = intervalUnit(days());
    const columns = groupColumns(unit === 'day' ? 'Day' : 'Hour', interval => interval.key);
    return element(
      'details',
      element('summary', unit === 'day' ? 'Daily values' : 'Hourly values'),
      Table('By ' + unit, columns, intervals, range)
    );
  }

  /** @param {CostSums} sums */
  function drawFigures(sums) {
    const limit = budget();
    figures.set([
      { label: 'Cost', value: formatMoney(sums.cost) },
      ...(limit ? [{ label: 'Budget used', value: formatShare(sums.cost, limit) }] : []),
      { label: 'Tokens in', value: formatCount(sums.tokens_in) },
      { label: 'Cached', value: formatShare(sums.tokens_cached, sums.tokens_in) },
      { label: 'Tokens out', value: formatCount(sums.tokens_out) }
    ]);
    setAttribute(figures.root, 'data-tone', limit && sums.cost > limit ? 'bad' : null);
  }

  return {
    root,
    title: 'Costs',
    route(_, params) {
      const choice = (/** @type {string} */ name, /** @type {string[]} */ allowed) =>
        allowed.find(value => value === params.get(name)) || allowed[0];
      range = choice('range', RANGES);
      grouping = choice('by', GROUPINGS);
      requestedAt = 0;
      budgetInput.value = loadSetting('budget ' + range) || '';
      const hrefOf = (/** @type {object} */ values) => '#/costs' + queryString({ range, by: grouping, ...values });
      rangeChips.set(RANGES.map(name => ({ label: name, href: hrefOf({ range: name }), isCurrent: name === range })));
      groupingChips.set(
        GROUPINGS.map(name => ({ label: name, href: hrefOf({ by: name }), isCurrent: name === grouping }))
      );
    },
    render(topics) {
      const maxAge = topics.has('costs') && !error ? REFRESH_AFTER_REPORT_MS : REFRESH_MS;
      if (state.loaded && Date.now() - requestedAt > maxAge) void load();
      const loaded = data?.key === wantedKey() ? data : undefined;
      if (loaded && topics.has('tasks')) draw(loaded);
      setTextOrHide(hint, error || (loaded ? '' : 'Loading…'));
      for (const node of [body, figures.root, pricing]) setHidden(node, !loaded);
    }
  };
}
