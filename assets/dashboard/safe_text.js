// Makes text from agents safe to show. The text is untrusted: terminal escape sequences are
// removed, and characters that hide or reorder text become visible.

import { formatCount } from './format.js';

const ANSI_ESCAPES = /\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])/g;
// Control characters except tab and line feed, soft hyphen, bidirectional controls, zero-width characters and tags.
const INVISIBLE =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/**
 * ⟨202e⟩ instead of the character itself; carriage returns are dropped.
 * @param {string} char
 */
const codePointLabel = char =>
  char === '\r' ? '' : '\u27e8' + (char.codePointAt(0) ?? 0).toString(16).padStart(4, '0') + '\u27e9';

/**
 * Returns the text without escapes and invisible characters, cut at `maxLength` UTF-16 units.
 * @param {unknown} value
 */
export function safeText(value, maxLength = 20000) {
  let text = String(value ?? '');
  if (text.length > maxLength) {
    text = text.slice(0, maxLength) + '\n\u2026 ' + formatCount(text.length - maxLength) + ' more characters';
  }
  return text.replace(ANSI_ESCAPES, '').replace(INVISIBLE, codePointLabel);
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
        Object.values(fields)[0];
      if (value != null) summary = typeof value === 'object' ? JSON.stringify(value) : value;
    } catch {
      // Truncated or not JSON: shown as it is.
    }
  }
  return oneLine(summary);
}

/**
 * Indents the text if it is JSON.
 * @param {string} value
 */
export function prettyJson(value) {
  let text = value;
  if (/^[[{]/.test(text)) {
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Not JSON: shown as it is.
    }
  }
  return safeText(text);
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
