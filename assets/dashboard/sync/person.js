// Writes rows as the person.

/** @import { RequestError } from '../types.d.ts' */

import { post } from '../api.js';
import { savedSession } from '../session.js';
import { state } from '../store.js';

const HOW_TO_GET_A_KEY = 'This page has no key: run agenthub open in a terminal of your own.';

let confirmedName = '';
/**
 * Throws the first time a name is used that no agent has: it may be a typing mistake.
 * @param {string} name
 */
export function confirmRecipient(name) {
  const isKnown = !name || name === 'all' || state.agents.has(name) || state.mailboxes.has(name);
  if (isKnown || name === confirmedName) return;
  confirmedName = name;
  throw new Error(`no agent named “${name}” yet. Send again to write to that name anyway.`);
}

/**
 * Writes a row. The hub knows the person by the browser's key; without one it refuses the row.
 * @param {string} path
 * @param {object} body
 */
export async function postAsPerson(path, body) {
  try {
    return await post(path, body);
  } catch (error) {
    const { status, message } = /** @type {RequestError} */ (error);
    throw savedSession() || status !== 400 ? error : new Error(`${message}. ${HOW_TO_GET_A_KEY}`);
  }
}
