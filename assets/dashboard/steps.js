// How a step of a task is shown on one line, on Now and with the task.

/** @import { TaskEvent } from './types.d.ts' */

import { oneLine, safeText, toolSummary } from './safe_text.js';

/** @param {TaskEvent} event */
export function stepLabel(event) {
  if (event.tool_name) return event.tool_name;
  return event.stream_type === 'text' ? 'writing' : event.stream_type;
}

/** @param {TaskEvent} event */
export const stepSummary = event =>
  event.stream_type === 'tool_use'
    ? toolSummary(event.tool_input)
    : oneLine(event.error_msg || event.text || event.tool_output || event.directive || event.status);

/** @param {{ task_id: string, directive?: string }} task */
export const taskTitle = task => oneLine(task.directive) || safeText(task.task_id, 80);
