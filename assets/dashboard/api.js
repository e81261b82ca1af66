// HTTP requests to the hub, with the access token.

import { decode, queryString } from './routes.js';
import { loadSetting, saveSetting } from './storage.js';

const TIMEOUT_MS = 15000;
const TOKEN_IN_URL = /[#&]token=([^&\s]+)/;

export const savedToken = () => loadSetting('token');
export const saveToken = token => saveSetting('token', token);

/** Saves a token given in the URL's fragment and removes it from the address bar and the browser's history. */
export function takeTokenFromUrl() {
  const [, token] = TOKEN_IN_URL.exec(location.hash) || [];
  if (token) {
    saveToken(decode(token));
    history.replaceState(null, '', location.pathname + '#/now');
  }
  return token;
}

/** Returns the token in a pasted text: the token itself, or the address that `agenthub open` prints. */
export function tokenFromInput(input) {
  const [, inUrl] = TOKEN_IN_URL.exec(input) || [];
  const token = inUrl ? decode(inUrl) : input.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error('this is not a token.');
  return token;
}

let onUnauthorized = () => {};
/** Sets what happens when the hub rejects the token. */
export const setUnauthorizedHandler = handler => {
  onUnauthorized = handler;
};

/** `status` is the HTTP status, 0 if there was no response. */
const requestError = (status, message) => Object.assign(new Error(message), { status });

async function request(method, path, body) {
  const headers = {};
  if (savedToken()) headers.Authorization = 'Bearer ' + savedToken();
  if (body) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS)
    });
  } catch {
    throw requestError(0, 'the hub isn’t responding.');
  }
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({}));
  if (response.status === 401) onUnauthorized();
  throw requestError(response.status, error?.message || `the hub returned HTTP status ${response.status}.`);
}

export const get = (path, query) => request('GET', '/api/' + path + queryString(query));
export const post = (path, body) => request('POST', '/api/' + path, body);
export const patch = (path, body) => request('PATCH', '/api/' + path, body);
