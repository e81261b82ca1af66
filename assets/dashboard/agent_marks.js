// The marks of agents: a hue and two characters, by which agents that are shown together can be told apart. A mark is
// chosen when the agent is first known, and stays. Agents are known in the order of their first rows, so a reload gives
// them the same marks, unless rows were pruned.

import { initialsOf, nameParts } from './safe_text.js';

/** The number of hues that styles/components/mark.css defines. */
const HUES = 12;
/** Hues at this distance do not look alike, in steps of 30°. */
const MIN_DISTANCE = 2;

/** @typedef {{ hue: number, initials: string }} Mark */
/** @type {Map<string, Mark>} */
const marks = new Map();
/** The hues of the agents that became known last: the next one gets another. */
/** @type {number[]} */
let recentHues = [];
/** @type {Set<string>} */
const usedInitials = new Set();

/** @param {string} text */
function hash(text) {
  let value = 0x811c9dc5;
  for (const char of text) value = Math.imul(value ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return value >>> 0;
}

/**
 * Returns how far two hues are apart on the colour circle, in steps of 30°. Hues with successive numbers are 150° apart.
 * @param {number} a
 * @param {number} b
 */
function distance(a, b) {
  const steps = (Math.abs(a - b) * 5) % HUES;
  return Math.min(steps, HUES - steps);
}

/**
 * Returns the hue that follows from the name. If one of the last agents has this hue or the one beside it, returns the hue
 * that is furthest from theirs. None of the last agents has the same one.
 * @param {string} name
 */
function freeHue(name) {
  const usual = hash(name) % HUES;
  const room = (/** @type {number} */ hue) => Math.min(HUES, ...recentHues.map(other => distance(hue, other)));
  let chosen = usual;
  if (room(usual) < MIN_DISTANCE) {
    for (let i = 1; i < HUES; i++) {
      const hue = (usual + i) % HUES;
      if (room(hue) > room(chosen)) chosen = hue;
    }
  }
  recentHues = [...recentHues, chosen].slice(1 - HUES);
  return chosen;
}

/**
 * Returns two characters that no other agent has: the first one of the name, and the first that makes a difference, those
 * of the last part of the name first. Without one, those of another agent.
 * @param {string} name
 */
function freeInitials(name) {
  const usual = initialsOf(name);
  const [first] = usual;
  const rest = nameParts(name).toReversed().join('').toLowerCase();
  const candidates = [usual, ...[...rest].map(char => first + char)];
  const initials = candidates.find(candidate => !usedInitials.has(candidate)) || usual;
  usedInitials.add(initials);
  return initials;
}

/**
 * Chooses the mark of an agent, unless it has one.
 * @param {string} name
 */
export function chooseMark(name) {
  if (!marks.has(name)) marks.set(name, { hue: freeHue(name), initials: freeInitials(name) });
}

/**
 * Returns the mark of an agent; undefined for a name that no agent has.
 * @param {string} name
 */
export const markOf = name => marks.get(name);
