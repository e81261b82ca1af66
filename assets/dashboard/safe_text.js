// Makes text from agents safe to show. The text is untrusted: terminal escape sequences are
// removed, and characters that hide or reorder text become visible.

import { formatCount } from './format.js';

const ANSI_ESCAPES = /\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])/g;
// What src/text/safe_text.rs marks, except tab and line feed; a test compares the two. Controls, soft hyphen, grapheme
// joiner, Arabic letter mark; fillers; zero-width characters, direction marks, separators; variation selectors except 15
// and 16; annotations and tags.
const HIDDEN =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u2800\u3164\uffa0\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufe00-\ufe0d\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;
// A character that a zero-width joiner or non-joiner joins: an emoji, or a letter of a script that needs joiners. Between
// Latin, Greek or Cyrillic letters a joiner only hides something. The rule of `joins` in src/text/safe_text.rs.
const JOINS =
  /^([\u20e3\u2190-\u2bff\u3030\u303d\ufe0f\u{1f000}-\u{1faff}]|(?=[\u0590-\u1fff\ua800-\u{10ffff}])[\p{Alphabetic}\p{M}])$/u;

/**
 * Returns whether the character at a position is a joiner between two characters that it joins.
 * @param {string} text
 * @param {number} at
 */
function isJoiner(text, at) {
  if (text[at] !== '\u200c' && text[at] !== '\u200d') return false;
  // A character has at most two UTF-16 units.
  const before = [...text.slice(Math.max(0, at - 2), at)].at(-1) || '';
  const [after = ''] = text.slice(at + 1, at + 3);
  return [before, after].every(char => JOINS.test(char) && char.search(HIDDEN) < 0);
}

/**
 * ⟨202e⟩ instead of the character itself; carriage returns are dropped, and joiners stay where they join.
 * @param {string} char
 * @param {number} at
 * @param {string} text
 */
function codePointLabel(char, at, text) {
  if (char === '\r') return '';
  if (isJoiner(text, at)) return char;
  return '\u27e8' + (char.codePointAt(0) ?? 0).toString(16).padStart(4, '0') + '\u27e9';
}

/**
 * Returns the text without escapes and invisible characters, cut at `maxLength` UTF-16 units.
 * @param {unknown} value
 */
export function safeText(value, maxLength = 20000) {
  let text = String(value ?? '');
  if (text.length > maxLength) {
    text = text.slice(0, maxLength) + '\n\u2026 ' + formatCount(text.length - maxLength) + ' more characters';
  }
  return text.replace(ANSI_ESCAPES, '').replace(HIDDEN, codePointLabel);
}

/**
 * Returns the beginning of a text on one line, for lists.
 * @param {unknown} value
 */
export const oneLine = (value, maxLength = 160) =>
  safeText(String(value ?? '').slice(0, maxLength))
    .replace(/\s+/g, ' ')
    .trim();

/**
 * Returns the first value of an object. A number or a truth value says nothing without its name.
 * @param {object} fields
 */
function firstField(fields) {
  const [[name, value] = ['', undefined]] = Object.entries(fields);
  return typeof value === 'number' || typeof value === 'boolean' ? `${name} ${value}` : value;
}

/**
 * Summarises a tool's input on one line: if it is a JSON object, its most informative value.
 * @param {string | undefined} input
 */
export function toolSummary(input) {
  let summary = input;
  if (input && input[0] === '{') {
    try {
      const fields = JSON.parse(input);
      const value =
        fields.command ??
        fields.file_path ??
        fields.path ??
        fields.pattern ??
        fields.query ??
        fields.url ??
        firstField(fields);
      if (value != null) summary = typeof value === 'object' ? JSON.stringify(value) : value;
    } catch {
      // Truncated or not JSON: shown as it is.
    }
  }
  return oneLine(summary);
}

/**
 * Returns the last folder of a path.
 * @param {string | undefined} path
 */
export const folderName = path => oneLine((path || '').replace(/\/+$/, '').replace(/.*\//, ''), 60);

/**
 * Returns the words of a name.
 * @param {string} name
 */
export const nameParts = name => name.match(/[\p{L}\p{N}]+/gu) || ['?'];

/**
 * Returns the initials of a name: the first character of its first and of its last part, or its first two, in lower case.
 * @param {string} name
 */
export function initialsOf(name) {
  const parts = nameParts(name);
  const [first, second = ''] = [...parts[0]];
  const last = parts.length > 1 ? [...parts[parts.length - 1]][0] : second;
  return (first + last).toLowerCase();
}
