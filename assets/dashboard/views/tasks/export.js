// Saves the steps of a task as a file.

/** @import { Task, TaskEvent } from '../../types.d.ts' */

import { download } from '../../dom.js';
import { showNotice, state } from '../../store.js';
import { fetchTaskEvents } from '../../sync/requests.js';
import { taskTitle } from '../../steps.js';
import { stepText } from './step.js';

/**
 * Returns the steps as a Markdown document. A fence is longer than any in the output, so output cannot end it.
 * @param {Pick<Task, 'task_id'>} task
 * @param {TaskEvent[]} events
 */
function toMarkdown(task, events) {
  const sections = events.map(event => {
    if (event.stream_type === 'turn_start') return `## ${stepText(event)}\n`;
    const toolText = event.tool_input || event.tool_output;
    if (!toolText) return stepText(event) + '\n';
    const longestFence = Math.max(3, ...(toolText.match(/~+/g) || []).map(fence => fence.length));
    const fence = '~'.repeat(longestFence + 1);
    return `**${event.tool_name}** ${event.error_msg}\n\n${fence}\n${toolText}\n${fence}\n`;
  });
  return `# ${taskTitle(task)}\n\n` + sections.join('\n');
}

/**
 * @param {Pick<Task, 'task_id'>} _
 * @param {TaskEvent[]} events
 */
const toJsonLines = (_, events) => events.map(event => JSON.stringify(event) + '\n').join('');

export const FORMATS = [
  { label: 'JSONL', extension: 'jsonl', convert: toJsonLines },
  { label: 'Markdown', extension: 'md', convert: toMarkdown }
];

/**
 * @param {string} id
 * @param {typeof FORMATS[number]} format
 */
export async function exportTask(id, { extension, convert }) {
  try {
    const events = [];
    for await (const event of fetchTaskEvents(id)) events.push(event);
    download(id + '.' + extension, convert(state.tasks.get(id) || { task_id: id }, events));
  } catch (error) {
    showNotice('Couldn’t export the task: ' + /** @type {Error} */ (error).message);
  }
}
