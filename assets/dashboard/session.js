// The key with which this browser acts for the person, and the one-time codes that the page exchanges
// for it. The key is valid at one port, expires without use, and can be revoked; it is no master secret.
// Links from `agenthub open` have the code in the fragment, which browsers do not send to servers.

/** @import { Session } from './types.d.ts' */

import { decode } from './routes.js';
import { loadSetting, saveSetting, removeSetting, onSettingChange } from './storage.js';

const CODE_IN_URL = /[#&]code=([^&\s]+)/;
/** EXPIRES.NONCE.MAC */
const CODE = /^\d+\.[0-9a-f]+\.[0-9a-f]+$/;

/**
 * Returns the session of this browser, or null.
 * @returns {Session | null}
 */
export function savedSession() {
  const { id, key } = loadSetting('session') || {};
  return typeof id === 'string' && typeof key === 'string' ? { id, key } : null;
}

/** @param {Session} session */
export const saveSession = ({ id, key }) => saveSetting('session', { id, key });
export const forgetSession = () => removeSetting('session');
/**
 * Calls `handler` when another tab has got or given up a key.
 * @param {() => void} handler
 */
export const onSessionChange = handler => onSettingChange('session', handler);

/** Deletes the access token of earlier versions, which never expired and could do everything. */
export const deleteOldToken = () => removeSetting('token');

/** Takes the code out of the URL's fragment, the address bar and the tab's history. Returns '' if there is none. */
export function takeCodeFromUrl() {
  const [, code] = CODE_IN_URL.exec(location.hash) || [];
  if (!code) return '';
  history.replaceState(null, '', location.pathname + '#/now');
  return decode(code);
}

/**
 * Returns the code in a pasted text: the code itself, or a link from `agenthub open` or `agenthub serve`.
 * @param {string} input
 */
export function codeFromInput(input) {
  const [, inUrl] = CODE_IN_URL.exec(input) || [];
  const code = inUrl ? decode(inUrl) : input.trim();
  if (!CODE.test(code)) throw new Error('this is not a link from agenthub open, nor the code in one.');
  return code;
}
