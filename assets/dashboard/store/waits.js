// What agents wait for: a permission, the person's answer, or mail.

/** @import { AgentSummary, AgentWait, Request, TaskEvent } from '../types.d.ts' */

import { state } from '../store.js';
import { oneLine, toolSummary } from '../safe_text.js';

const PERMISSION = /^asks for permission: (.*)$/s;
/** Commands of a shell that return when mail has arrived. */
const WAIT_COMMAND = /\bagenthub\s+(ask\b|inbox\b.*\s--wait\b)/s;
/** Types of mail whose sender waits for a reply. */
const TYPES_WITH_REPLY = new Set(['request', 'approval_request', 'question']);

/**
 * Returns whether the sender waits for a reply.
 * @param {Request} mail
 */
export const expectsReply = mail => TYPES_WITH_REPLY.has(mail.message_type || '');

/**
 * Returns whether a call of a tool, of the shell or of agenthub's MCP server, returns when mail has arrived.
 * @param {TaskEvent} event
 */
function waitsForMail({ stream_type, tool_name = '', tool_input = '' }) {
  if (stream_type !== 'tool_use') return false;
  if (tool_name.endsWith('check_inbox')) return /"wait_seconds":\s*[1-9]/.test(tool_input);
  return tool_name.endsWith('ask_human') || WAIT_COMMAND.test(toolSummary(tool_input));
}

/**
 * Returns what an agent waits for, if it waits.
 * @param {AgentSummary} agent
 * @param {Request | undefined} question its newest question to the person
 * @returns {AgentWait | undefined}
 */
export function agentWait({ status, task, lastEvent }, question) {
  if (status === 'waiting') return permissionWait(task?.task_id, lastEvent, task?.updated_at);
  if (question) return { reason: 'your answer: ' + oneLine(question.title || question.payload), since: question.created_at };
  if (status === 'working' && lastEvent && waitsForMail(lastEvent)) {
    return { reason: 'mail', since: lastEvent.created_at };
  }
  return undefined;
}

/**
 * @param {string | undefined} taskId
 * @param {TaskEvent | undefined} event the last event of the agent
 * @param {number | undefined} updatedAt
 * @returns {AgentWait}
 */
function permissionWait(taskId, event, updatedAt = 0) {
  if (!event || event.task_id !== taskId) return { reason: 'you', since: updatedAt };
  const [, tool] = PERMISSION.exec(event.text || '') || [];
  const reason = tool ? 'permission: ' + oneLine(tool, 60) : 'you: ' + (oneLine(event.text) || 'see its terminal');
  const call = state.lastCalls.get(event.agent_id || '');
  const isAsked = call && call.task_id === taskId && (!tool || call.tool_name === tool);
  return { reason, since: event.created_at, call: isAsked ? call : undefined };
}
