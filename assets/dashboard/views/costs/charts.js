// The charts of Costs. The tables have the same values.

/** @import { CostGroup, CostSums } from '../../types.d.ts' */

import { element, drawing, drawnPath } from '../../dom.js';
import { Initials, NameLink } from '../../components/labels.js';
import { agentAuthor, agentName } from '../../authors.js';
import { formatCount, formatMoney } from '../../format.js';
import { oneLine } from '../../safe_text.js';

const CHART_HEIGHT = 40;
/** The three parts of every bar. */
const TOKEN_PARTS = ['uncached', 'cached', 'output'];

/** @param {CostSums} sums */
export const totalTokens = sums => sums.tokens_in + sums.tokens_out;

/** @param {CostSums} sums */
const tokenParts = sums => [sums.tokens_in - sums.tokens_cached, sums.tokens_cached, sums.tokens_out];

/**
 * A chart with its scale as text: the first interval, the highest value, the last interval.
 * @param {(Node | string)[]} caption
 * @param {string} label
 * @param {CostGroup[]} intervals
 * @param {string} highest
 * @param {SVGPathElement[]} paths
 */
function Chart(caption, label, intervals, highest, paths) {
  const first = intervals[0].key;
  const last = intervals[intervals.length - 1].key;
  const scale = [first, 'max ' + highest, last].map(text => element('span', text));
  return element(
    'figure',
    element('figcaption', ...caption),
    drawing('chart', '100 ' + CHART_HEIGHT, label, ...paths),
    element('p.axis', ...scale)
  );
}

/**
 * The tokens of each interval as stacked bars.
 * @param {CostGroup[]} intervals
 */
export function TokenChart(intervals) {
  const highest = Math.max(1, ...intervals.map(totalTokens));
  const width = 100 / intervals.length;
  const paths = TOKEN_PARTS.map(() => '');
  intervals.forEach((interval, i) => {
    let y = CHART_HEIGHT;
    tokenParts(interval).forEach((tokens, part) => {
      const height = (tokens / highest) * (CHART_HEIGHT - 2);
      paths[part] += `M${(i + 0.15) * width} ${y}v${-height}h${width * 0.7}v${height}z`;
      y -= height;
    });
  });
  const legend = TOKEN_PARTS.map((name, part) => element(`span.legend series-${part}`, name));
  return Chart(
    ['Tokens:', ...legend],
    'Tokens over time; the last table has the values',
    intervals,
    formatCount(highest),
    paths.map((d, part) => drawnPath({ class: 'series-' + part, d }))
  );
}

/**
 * The cumulative cost, with the budget as a line.
 * @param {CostGroup[]} intervals
 * @param {number} budget dollars, 0 if there is none
 */
export function CostChart(intervals, budget) {
  const total = intervals.reduce((sum, interval) => sum + interval.cost, 0);
  const highest = Math.max(total, budget, 0.01) * 1.08;
  const y = (/** @type {number} */ cost) => CHART_HEIGHT - (cost / highest) * CHART_HEIGHT;
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
      drawnPath({ class: 'cost-area', d: line + `V${CHART_HEIGHT}z` }),
      drawnPath({ class: 'cost-line', d: line }),
      drawnPath({ class: 'budget', d: budget ? `M0 ${y(budget)}H100` : '' })
    ]
  );
}

/**
 * Returns a function that shows a group's name with its tokens as a bar.
 * @param {CostGroup[]} groups
 */
export function GroupLabel(groups) {
  const highest = Math.max(1, ...groups.map(totalTokens));
  return (/** @type {CostGroup} */ group) => {
    const initials = Initials();
    const author = agentAuthor(group.key);
    initials.set(author);
    let x = 0;
    const paths = tokenParts(group).map((tokens, part) => {
      const start = x;
      x += (tokens / highest) * 100;
      return drawnPath({ class: 'series-' + part, d: `M${start} 0H${x}V6H${start}z` });
    });
    const name = NameLink();
    name.set({ ...author, label: group.key ? agentName(oneLine(group.key, 80)) : 'unspecified' });
    return element('span.agent-cell', initials.root, name.root, drawing('token-bar', '100 6', '', ...paths));
  };
}
