// The addresses of the page's views. The URL's fragment is the route: `#/view/part/part?name=value`.

/** @import { Query } from './types.d.ts' */

/**
 * Decodes one part of an address; returns it unchanged if it is not valid percent-encoding.
 * @param {string} part
 */
export function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * Returns `?name=value&…` without null and empty values, or an empty string.
 * @param {Query} [values]
 */
export function queryString(values = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value != null && value !== '') params.set(name, String(value));
  const text = String(params);
  return text && '?' + text;
}

/**
 * Returns `#/part/part`; empty parts are left out.
 * @param {(string | number | undefined)[]} parts
 */
export const routeTo = (...parts) =>
  '#/' + parts.flatMap(part => (part ? encodeURIComponent(part) : [])).join('/');

/**
 * Returns the route of a thread message, an inbox message, a task event or a task.
 * @param {{ id?: string | number, task_id?: string, thread_id?: string, message_seq?: number, to_inbox?: string }} row
 */
export function routeToRow(row) {
  if (row.task_id) return routeTo('tasks', row.task_id, row.id);
  if (row.message_seq) return routeTo('threads', row.thread_id, row.message_seq);
  return routeTo('inbox', row.to_inbox || '*', row.id);
}

/**
 * Returns the route of the page of an agent.
 * @param {string | undefined} agentId
 */
export const routeToAgent = agentId => routeTo('agents', agentId);

/**
 * Returns the route of the form that writes to an agent.
 * @param {string} [agentId]
 */
export const routeToNewMail = agentId => routeTo('inbox', 'human', 'new') + queryString({ to: agentId });
