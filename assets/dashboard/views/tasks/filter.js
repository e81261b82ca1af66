// The filter of the table of tasks, as text: status:failed agent:planner cost:>1 since:2h errors:>0 sort:cost, and words.

/** @import { Task } from '../../types.d.ts' */

import { isUnfinished } from '../../store/tasks.js';
import { oneLine } from '../../safe_text.js';

/** @param {Task} task */
export const durationSeconds = task =>
  ((isUnfinished(task) ? Date.now() : task.updated_at) - task.started_at) / 1e3;

/** @param {Task} task */
export const totalTokens = task => (task.tokens_in || 0) + (task.tokens_out || 0);

/** @typedef {(task: Task) => number} NumberOf */
/** @typedef {(task: Task) => boolean} Test */

/** @type {Map<string, NumberOf>} The numbers that a filter compares and sorts by. */
const NUMBERS = new Map([
  ['turns', task => task.turns],
  ['tokens', totalTokens],
  ['cost', task => task.cost],
  ['took', durationSeconds],
  ['errors', task => task.errors]
]);
/** @type {Map<string, 'agent_id' | 'status' | 'workspace' | 'model'>} */
const TEXT_FIELDS = new Map([
  ['agent', 'agent_id'],
  ['status', 'status'],
  ['workspace', 'workspace'],
  ['model', 'model']
]);
/** @type {Record<string, number>} */
const TIME_UNITS_MS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const HELP =
  'Use status: agent: workspace: model: since:2h cost:>1 sort:cost, or one of ' + [...NUMBERS.keys()].join(', ') + '.';

/**
 * @param {'agent_id' | 'status' | 'workspace' | 'model' | 'directive' | 'task_id'} field
 * @param {string} text
 * @returns {Test}
 */
const contains = (field, text) => task =>
  String(task[field] || '')
    .toLowerCase()
    .includes(text);

/**
 * @param {NumberOf} numberOf
 * @param {string} operator
 * @param {number} limit
 * @returns {Test}
 */
function compare(numberOf, operator, limit) {
  return task => {
    const value = numberOf(task) || 0;
    if (operator === '>') return value > limit;
    return operator === '<' ? value < limit : value === limit;
  };
}

/**
 * A word of a filter: a test, a number to sort by, or an error.
 * @typedef {{ test?: Test, sortBy?: string, error?: string }} FilterWord
 */

/**
 * @param {string} word
 * @returns {FilterWord}
 */
function parseWord(word) {
  const match = /^(\w+):([<>]?)(.*)$/.exec(word);
  if (!match) return { test: matchesText(word.toLowerCase()) };
  const [, key, operator] = match;
  const value = match[3].toLowerCase();
  const textField = TEXT_FIELDS.get(key);
  if (textField) return { test: contains(textField, value) };
  const age = /^(\d+)([smhd])$/.exec(value);
  if (key === 'since' && age) {
    const ms = +age[1] * TIME_UNITS_MS[age[2]];
    return { test: task => task.updated_at > Date.now() - ms };
  }
  if (key === 'sort' && NUMBERS.has(value)) return { sortBy: value };
  const numberOf = NUMBERS.get(key);
  if (numberOf && value && !Number.isNaN(+value)) return { test: compare(numberOf, operator, +value) };
  return { error: `Unknown filter “${oneLine(word, 40)}”. ${HELP}` };
}

/**
 * @param {string} text
 * @returns {Test}
 */
function matchesText(text) {
  const tests = [contains('directive', text), contains('task_id', text), contains('agent_id', text)];
  return task => tests.some(test => test(task));
}

/**
 * A filter. `sortBy` is the name of a number, `valueOf` the number that tasks are sorted by, descending.
 * @typedef {{ test: Test, sortBy: string, valueOf: NumberOf, error: string }} Filter
 */

/**
 * Parses a filter. Without `sort:`, unfinished tasks come first.
 * @param {string} query
 * @returns {Filter}
 */
export function parseFilter(query) {
  const words = (query.match(/\S+/g) || []).map(parseWord);
  const tests = words.flatMap(word => word.test ?? []);
  const sortBy = words.findLast(word => word.sortBy)?.sortBy || '';
  return {
    test: task => tests.every(test => test(task)),
    sortBy,
    valueOf: NUMBERS.get(sortBy) || (task => +isUnfinished(task)),
    error: words.findLast(word => word.error)?.error || ''
  };
}
