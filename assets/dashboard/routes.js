// The addresses of the page's views. The URL's fragment is the route: `#/view/part/part?name=value`.

/** Decodes one part of an address; returns it unchanged if it is not valid percent-encoding. */
export function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Returns `?name=value&…` without null and empty values, or an empty string. */
export function queryString(values) {
  const params = new URLSearchParams();
  for (const name in values) if (values[name] != null && values[name] !== '') params.set(name, values[name]);
  return String(params) && '?' + params;
}

/** Returns `#/part/part`; empty parts are left out. */
export const routeTo = (...parts) => '#/' + parts.filter(Boolean).map(encodeURIComponent).join('/');

/** Returns the route of a thread message, an inbox message, a task event or a task. */
export function routeToRow(row) {
  if (row.task_id) return routeTo('tasks', row.task_id, row.id);
  if (row.message_seq) return routeTo('threads', row.thread_id, row.message_seq);
  return routeTo('inbox', row.to_inbox || '*', row.id);
}

/** Returns the route of the form that writes to an agent. */
export const routeToNewMail = agentId => routeTo('inbox', 'human', 'new') + queryString({ to: agentId });
