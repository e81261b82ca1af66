// The outline of a task: its turns, its errors and its time axis, from the loaded steps.

/** @import { Task, TaskEvent, TimelineRows } from '../../types.d.ts' */

import { isUnfinished } from '../../store/tasks.js';
import { endEvent, isErrorStep } from './step.js';

/**
 * A turn of the model. `index` is that of its first step; times are Unix milliseconds.
 * @typedef {object} Turn
 * @property {number} index
 * @property {TaskEvent} firstEvent
 * @property {number} number
 * @property {number} start
 * @property {number} end
 * @property {number} cost
 * @property {number} errors
 */

/**
 * Returns the turns of the loaded steps.
 * @param {TimelineRows<TaskEvent>} rows
 */
export function turnsOf(rows) {
  /** @type {Turn[]} */
  const turns = [];
  /** @type {Turn | undefined} */
  let turn;
  for (let i = 0; i < rows.length; i++) {
    const step = rows[i];
    const { event } = step;
    const startsTurn = !turn || (event.turn_num && event.turn_num !== turn.number);
    if (!step.depth && startsTurn) {
      turn = newTurn(rows.firstIndex + i, event);
      turns.push(turn);
    }
    if (!turn) continue;
    turn.end = Math.max(turn.end, event.created_at, endEvent(step)?.created_at || 0);
    turn.cost += event.cost || 0;
    if (isErrorStep(step)) turn.errors++;
  }
  return turns;
}

/**
 * @param {number} index
 * @param {TaskEvent} event
 * @returns {Turn}
 */
const newTurn = (index, event) => ({
  index,
  firstEvent: event,
  number: event.turn_num || 1,
  start: event.created_at,
  end: event.created_at,
  cost: 0,
  errors: 0
});

/**
 * Returns the start and the end of the loaded steps.
 * @param {TimelineRows<TaskEvent>} rows at least one
 * @param {Task | undefined} task
 */
export function timeAxisOf(rows, task) {
  const start = rows[0].event.created_at;
  const lastTime = rows[rows.length - 1].event.created_at;
  if (rows.detached) return { start, end: lastTime };
  return { start, end: isUnfinished(task) ? Date.now() : Math.max(lastTime, task?.updated_at || 0) };
}
