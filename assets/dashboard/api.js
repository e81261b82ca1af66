// HTTP with the token, and what this browser remembers: the token, choices, how far each
// thread was read. Knows paths and status codes, nothing of what the answers mean.

import { part, query } from './format.js';

/** A private window may refuse to keep anything: then it is for this tab only. */
const memory = {};
export function kept(key) {
  try {
    return JSON.parse(localStorage.getItem('agenthub.' + key)) ?? memory[key];
  } catch {
    return memory[key];
  }
}
export function keep(key, value) {
  memory[key] = value;
  try {
    localStorage.setItem('agenthub.' + key, JSON.stringify(value));
  } catch {
    /* see above */
  }
}

export const token = () => kept('token');
/** The token from the URL's fragment wins and is taken out of the address bar and the history. */
export function takeToken() {
  const [, found] = /[#&]token=([^&]+)/.exec(location.hash) || [];
  if (found) {
    keep('token', part(found));
    history.replaceState(null, '', location.pathname + '#/now');
  }
  return found;
}

/** An error with the answer's status, 0 if there was none. */
const failure = (status, message) => Object.assign(new Error(message), { status });

let locked = () => {};
export const onLocked = f => {
  locked = f;
};

async function call(method, path, body) {
  const headers = {};
  if (token()) headers.Authorization = 'Bearer ' + token();
  if (body) headers['Content-Type'] = 'application/json';
  let res;
  try {
    res = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(15000) });
  } catch {
    throw failure(0, 'The hub does not answer.');
  }
  if (res.ok) return res.json();
  const err = (await res.json().catch(() => ({}))).error || {};
  if (res.status === 401) locked();
  throw failure(res.status, err.message || 'The hub answered ' + res.status + '.');
}

export const get = (path, q) => call('GET', '/api/' + path + query(q));
export const post = (path, body) => call('POST', '/api/' + path, body);
export const patch = (path, body) => call('PATCH', '/api/' + path, body);
