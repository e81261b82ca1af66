// HTTP requests to the hub, with this browser's key.

import { queryString } from './routes.js';
import { savedSession, saveSession } from './session.js';
import { requireProof, UNKNOWN_SESSION } from './hub_proof.js';

const TIMEOUT_MS = 15000;

let onUnauthorized = () => {};
/** Sets what happens when the hub does not accept the key. */
export const setUnauthorizedHandler = handler => {
  onUnauthorized = handler;
};

/** `status` is the HTTP status, 0 if there was no response. */
const requestError = (status, message) => Object.assign(new Error(message), { status });

/** Sends a request with a secret, which may be missing. */
async function send(method, path, secret, body) {
  const headers = {};
  if (secret) headers.Authorization = 'Bearer ' + secret;
  if (method !== 'GET') headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: 'no-store',
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    });
  } catch {
    throw requestError(0, 'the hub isn’t responding.');
  }
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({}));
  throw requestError(response.status, error?.message || `the hub returned HTTP status ${response.status}.`);
}

async function request(method, path, body) {
  const session = savedSession();
  try {
    if (session) await requireProof(session);
    return await send(method, path, session?.key, body);
  } catch (error) {
    if (error.status === 401 || error.reason === UNKNOWN_SESSION) onUnauthorized();
    throw error;
  }
}

export const get = (path, query) => request('GET', '/api/' + path + queryString(query));
export const post = (path, body) => request('POST', '/api/' + path, body);
export const patch = (path, body) => request('PATCH', '/api/' + path, body);
export const remove = path => request('DELETE', '/api/' + path);

/** Exchanges a one-time code for a key of this browser, saves it, and revokes the one it had before. */
export async function exchangeCode(code) {
  const former = savedSession();
  try {
    saveSession(await send('POST', '/api/sessions', code));
  } catch (error) {
    throw error.status === 401 ? requestError(401, 'this link was used before or has expired.') : error;
  }
  // Ignores failures: the former key may belong to another hub, or have expired.
  if (former) remove('sessions/' + encodeURIComponent(former.id)).catch(() => {});
}
