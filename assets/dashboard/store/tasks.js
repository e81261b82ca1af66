// Tasks and their steps.

/** @import { Task, TaskEvent, TaskTotal } from '../types.d.ts' */

import { state } from '../store.js';
import { invalidate } from './schedule.js';
import { refresh } from './refresh.js';
import { evictOldest } from './eviction.js';
import { noteActivity } from './activity.js';
import { addToFeed } from './feed.js';
import { addToTimeline } from './timelines.js';

/** The words with which agents report that a task or a call has failed. */
const FAILURES = new Set(['failed', 'error']);
const UNFINISHED = new Set(['running', 'waiting']);
/** After these steps the hub's sums of tokens and cost have changed. */
const STEPS_WITH_USAGE = new Set(['turn_end', 'status', 'error']);
/** After these steps an agent may begin or end to work; a session that works is not woken. */
const STEPS_OF_TURNS = new Set(['turn_start', 'turn_end', 'status']);
const TURN_BOUNDARIES = new Set(['turn_start', 'turn_end']);
/** A running task without a step for this long is shown as stale. */
const STALE_AFTER_MS = 6e5;
/** The fields that a step sets in its task. */
const TASK_FIELDS = /** @type {const} */ (['agent_id', 'workspace', 'directive', 'model']);

/** @param {string | undefined} status */
export const isFailure = status => FAILURES.has(status || '');

/** @param {{ status: string } | undefined} task */
export const isUnfinished = task => UNFINISHED.has(task?.status || '');

/**
 * Returns the word that is shown as the status of a task: 'gone' if the process of its agent has ended, and 'stale' if it
 * runs without steps.
 * @param {Task} task
 */
export function shownStatus(task) {
  if (isUnfinished(task) && state.agents.get(task.agent_id)?.status === 'gone') return 'gone';
  // What happens while the page is disconnected is not known.
  const now = state.connection.lostAt || Date.now();
  return task.status === 'running' && now - task.updated_at >= STALE_AFTER_MS ? 'stale' : task.status;
}

/** What the words mean that only the page uses. */
const STATUS_NOTES = new Map([
  ['gone', 'The process has ended.'],
  ['stale', `No step for ${STALE_AFTER_MS / 6e4} minutes or more.`]
]);

/**
 * Returns what a status means, if its word does not say it.
 * @param {string | undefined} status
 */
export const statusNote = status => STATUS_NOTES.get(status || '') || '';

/**
 * Returns whether a step only says that a turn or a task has begun or ended.
 * @param {TaskEvent} event
 */
export const isStepOfTurn = event => STEPS_OF_TURNS.has(event.stream_type);

/**
 * Returns whether the hub counts the event among the errors of its task.
 * @param {TaskEvent} event
 */
const isErrorEvent = ({ stream_type, error_msg, status }) =>
  stream_type === 'error' || (stream_type === 'tool_result' && (!!error_msg || isFailure(status)));

/**
 * @param {string} id
 * @param {number} startedAt
 * @returns {Task}
 */
const newTask = (id, startedAt) => ({
  task_id: id,
  agent_id: '',
  workspace: '',
  directive: '',
  status: '',
  model: '',
  turns: 0,
  tokens_in: 0,
  tokens_out: 0,
  cost: 0,
  errors: 0,
  started_at: startedAt,
  updated_at: 0,
  last_type: '',
  last_id: 0
});

/**
 * Returns the task. Adds it if it is not in memory.
 * @param {string} id
 * @param {number} time
 */
function openTask(id, time) {
  const known = state.tasks.get(id);
  if (known) return known;
  const task = newTask(id, time);
  state.tasks.set(id, task);
  evictOldest('tasks');
  // It may have earlier events, which only the hub counts.
  refresh.tasks();
  refresh.totals();
  return task;
}

/**
 * @param {TaskEvent} row
 * @param {number} time
 */
export function putTaskEvent(row, time) {
  const event = { ...row, created_at: time };
  const type = event.stream_type;
  const task = openTask(row.task_id, time);
  if (!(event.id <= task.last_id)) applyStep(task, event);
  if (STEPS_WITH_USAGE.has(type)) refresh.tasks();
  if (isStepOfTurn(event)) refresh.wake();
  if (type === 'status' || task.status === 'waiting') refresh.totals();
  event.agent_id ||= task.agent_id;
  if (event.agent_id) setLastEvent(event);
  noteActivity(event.agent_id, time);
  if (!TURN_BOUNDARIES.has(type)) addToFeed('task', time, event);
  invalidate('tasks');
  addToTimeline('tasks', row.task_id, event);
}

/**
 * Keeps the last event of an agent.
 * @param {TaskEvent & { agent_id?: string }} event
 */
export function setLastEvent(event) {
  const agentId = event.agent_id || '';
  state.lastEvents.set(agentId, event);
  if (event.stream_type === 'tool_use') state.lastCalls.set(agentId, event);
}

/**
 * @param {Task} task
 * @param {TaskEvent} event
 */
function applyStep(task, event) {
  task.last_id = event.id || 0;
  task.updated_at = event.created_at;
  task.last_type = event.stream_type;
  task.turns = Math.max(task.turns, event.turn_num || 0);
  for (const field of TASK_FIELDS) task[field] = event[field] || task[field];
  if (event.stream_type === 'status' && event.status) task.status = event.status;
  if (isErrorEvent(event)) task.errors++;
  inferTaskStatus(task);
}

/**
 * Sets the status of a task that has none: it is running. So is one that has continued after waiting for permission.
 * @param {Task} task
 */
function inferTaskStatus(task) {
  if (!task.status || (task.status === 'waiting' && task.last_type !== 'status')) task.status = 'running';
}

/**
 * Adds a task from HTTP that is not in memory.
 * @param {Task} row
 */
export function addTask(row) {
  if (state.tasks.has(row.task_id)) return;
  inferTaskStatus(row);
  state.tasks.set(row.task_id, row);
}

/**
 * Updates a task from HTTP. The response may be older than events already applied: then only its totals are used.
 * @param {Task} row
 */
export function putTask(row) {
  const known = state.tasks.get(row.task_id);
  if (!known || row.last_id >= known.last_id) {
    inferTaskStatus(row);
    state.tasks.set(row.task_id, row);
    return;
  }
  const { tokens_in, tokens_out, cost } = row;
  const turns = Math.max(known.turns, row.turns);
  const errors = Math.max(known.errors, row.errors);
  Object.assign(known, { tokens_in, tokens_out, cost, turns, errors });
}

/**
 * Returns the number of tasks in a field of the hub's totals. `test` selects the same ones of the loaded tasks, which are
 * counted if all are loaded.
 * @param {TaskTotal} field
 * @param {(task: Task) => boolean} test
 */
export function taskCount(field, test = () => true) {
  const all = state.totals?.tasks;
  if (all && all.total > state.tasks.size) return all[field];
  return [...state.tasks.values()].filter(test).length;
}

/**
 * Returns the test whether a task has a status.
 * @param {string} status
 * @returns {(task: Task) => boolean}
 */
export const hasStatus = status => task => task.status === status;
