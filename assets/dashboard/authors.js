// Who wrote a row, as the page shows it. Any program can write a row in the name of `human`; the hub marks
// those that the person wrote as `verified`. All other rows under that name are `human (unverified)`.

/** @import { Author, Authored } from './types.d.ts' */

import { markOf } from './agent_marks.js';
import { safeText, initialsOf } from './safe_text.js';

export const HUMAN = 'human';
export const UNVERIFIED = 'human (unverified)';
export const UNVERIFIED_NOTE = 'Written by a program or before this version; nothing proves that you wrote it.';

const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;
/** @param {string | undefined} name */
const plain = name => (name || '').replace(HIDDEN, '').trim().toLowerCase();

/**
 * Returns whether a name is `human` or looks like it: case, blanks around it and hidden characters do not count.
 * @param {string | undefined} name
 */
export const isHumanName = name => plain(name) === HUMAN;

/**
 * Returns the name of an inbox or a recipient: `human` is the reader of this page.
 * @param {string} name
 */
export const displayName = name => (name === HUMAN ? 'You' : agentName(name));

/**
 * Returns the name of an agent. It cannot look like the page's own words for the person.
 * @param {string | undefined} name
 */
export function agentName(name) {
  if (isHumanName(name)) return UNVERIFIED;
  const shown = safeText(name, 80) || 'unknown';
  return /^(you|human)([\s(].*)?$/.test(plain(name)) ? `“${shown}”` : shown;
}

/** @type {Author} */
const YOU = { name: HUMAN, label: 'You', mark: 'you', note: '' };

/**
 * @param {string} label
 * @returns {Author}
 */
const unverified = label => ({ name: HUMAN, label, mark: 'unverified', note: UNVERIFIED_NOTE });

/**
 * Returns the author under this name of a row that cannot be verified, as those of tasks and telemetry.
 * @param {string | undefined} name
 * @returns {Author}
 */
export const agentAuthor = name =>
  isHumanName(name)
    ? unverified(UNVERIFIED)
    : { name: name || '?', label: agentName(name), mark: 'agent', hue: markOf(name || '')?.hue, note: '' };

/**
 * Returns the owner of the inbox `name`, as an author is shown.
 * @param {string} name
 */
export const inboxOwner = name => (name === HUMAN ? YOU : agentAuthor(name));

/**
 * Returns whether the person wrote the row.
 * @param {Authored} row
 */
export const isByPerson = row => row.verified === true;

/**
 * Returns the author of a thread message, an inbox message or a search result.
 * @param {Authored} row
 */
export function authorOf(row) {
  if (isByPerson(row)) return YOU;
  const name = row.from_agent ?? row.from_id ?? row.from;
  if (isHumanName(name)) return unverified(UNVERIFIED);
  if (isHumanName(row.from_type)) return unverified(`${agentName(name)}, ${UNVERIFIED}`);
  return agentAuthor(name);
}

/**
 * Returns what a square of two characters shows of an author.
 * @param {Author} author
 */
export function initialsOfAuthor({ name, mark }) {
  if (mark === 'you') return 'me';
  return mark === 'unverified' ? 'h?' : markOf(name)?.initials || initialsOf(name);
}
