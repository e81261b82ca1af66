// HTTP requests to the hub, with this browser's key.

/** @import { Query, RequestError } from './types.d.ts' */

import { queryString } from './routes.js';
import { savedSession, saveSession } from './session.js';
import { requireProof, UNKNOWN_SESSION } from './hub_proof.js';

const TIMEOUT_MS = 15000;
const DOT_SEGMENT = /(^|\/)\.\.?(\/|\?|$)/;

let onUnauthorized = () => {};
/**
 * Sets what happens when the hub does not accept the key.
 * @param {() => void} handler
 */
export const setUnauthorizedHandler = handler => {
  onUnauthorized = handler;
};

/**
 * @param {number} status the HTTP status, 0 if there was no response
 * @param {string} message
 * @returns {RequestError}
 */
const requestError = (status, message) => Object.assign(new Error(message), { status });

/**
 * Sends a request and returns the parsed response.
 * @param {string} method
 * @param {string} path
 * @param {string | undefined} secret
 * @param {object} [body]
 * @returns {Promise<any>}
 */
async function send(method, path, secret, body) {
  /** @type {Record<string, string>} */
  const headers = {};
  // A browser removes such a segment, in its encoded forms too: the request would be about something else.
  if (DOT_SEGMENT.test(path)) throw requestError(404, 'a name that is “.” or “..” can’t be part of an address.');
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

/**
 * Sends a request with this browser's key.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 */
async function request(method, path, body) {
  const session = savedSession();
  try {
    if (session) await requireProof(session);
    return await send(method, path, session?.key, body);
  } catch (error) {
    const { status, reason } = /** @type {RequestError & { reason?: string }} */ (error);
    if (status === 401 || reason === UNKNOWN_SESSION) onUnauthorized();
    throw error;
  }
}

/**
 * These return the parsed response, or throw a RequestError.
 * @param {string} path below /api/
 * @param {Query} [query]
 */
export const get = (path, query) => request('GET', '/api/' + path + queryString(query));
/** @type {(path: string, body?: object) => Promise<any>} */
export const post = (path, body) => request('POST', '/api/' + path, body);
/** @type {(path: string, body: object) => Promise<any>} */
export const patch = (path, body) => request('PATCH', '/api/' + path, body);
/** @type {(path: string) => Promise<any>} */
export const remove = path => request('DELETE', '/api/' + path);

/**
 * Exchanges a one-time code for a key of this browser, saves it, and revokes the one it had before.
 * @param {string} code
 */
export async function exchangeCode(code) {
  const former = savedSession();
  try {
    saveSession(await send('POST', '/api/sessions', code));
  } catch (error) {
    const isRefused = /** @type {RequestError} */ (error).status === 401;
    throw isRefused ? requestError(401, 'this link was used before or has expired.') : error;
  }
  // Ignores failures: the former key may belong to another hub, or have expired.
  if (former) remove('sessions/' + encodeURIComponent(former.id)).catch(() => {});
}
