// Makes text from agents safe to show. The text is untrusted: terminal escape sequences are
// removed, and characters that hide or reorder text become visible.

import { formatCount } from './format.js';

const ANSI_ESCAPES = /\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])/g;
// Control characters except tab and line feed, soft hyphen, bidirectional controls, zero-width characters and tags.
const INVISIBLE =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

// What a zero-width joiner or non-joiner joins: emoji, and letters of scripts that need them. Between Latin, Greek or
// Cyrillic letters it only hides something. The hub has the same rule in src/text/safe_text.rs.
const JOINS_BEFORE = /(\p{Extended_Pictographic}|\p{Emoji_Modifier}|[\ufe0f\u20e3]|(?=[\u0590-\u1fff\ua800-\u{10ffff}])[\p{L}\p{M}])$/u;
const JOINS_AFTER = /^(\p{Extended_Pictographic}|(?=[\u0590-\u1fff\ua800-\u{10ffff}])[\p{L}\p{M}])/u;

function isJoiner(char, at, text) {
  if (char !== '\u200c' && char !== '\u200d') return false;
  // A character has at most two UTF-16 units.
  return JOINS_BEFORE.test(text.slice(Math.max(0, at - 2), at)) && JOINS_AFTER.test(text.slice(at + 1, at + 3));
}

/** ⟨202e⟩ instead of the character itself; carriage returns are dropped, joiners stay where they join. */
function codePointLabel(char, at, text) {
  if (char === '\r' || isJoiner(char, at, text)) return char === '\r' ? '' : char;
  return '\u27e8' + char.codePointAt(0).toString(16).padStart(4, '0') + '\u27e9';
}

/** Returns the text without escapes and invisible characters, cut at `maxLength` UTF-16 units. */
export function safeText(value, maxLength = 20000) {
  let text = String(value ?? '');
  if (text.length > maxLength) {
    text = text.slice(0, maxLength) + '\n\u2026 ' + formatCount(text.length - maxLength) + ' more characters';
  }
  return text.replace(ANSI_ESCAPES, '').replace(INVISIBLE, codePointLabel);
}

/** Returns the beginning of a text on one line, for lists. */
export const oneLine = (value, maxLength = 160) =>
  safeText(String(value ?? '').slice(0, maxLength))
    .replace(/\s+/g, ' ')
    .trim();

/** Summarises a tool's input on one line: if it is a JSON object, its most informative value. */
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

/** Indents the text if it is JSON. */
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

/** Returns the last folder of a path. */
export const folderName = path => oneLine((path || '').replace(/\/+$/, '').replace(/.*\//, ''), 60);

/** Returns the initials of a name: two lower-case letters or digits. */
export function initialsOf(name) {
  const [first, second] = name.match(/[\p{L}\p{N}]+/gu) || ['?'];
  const letters = [...first];
  return (letters[0] + (second ? [...second][0] : letters[1] || '')).toLowerCase();
}
