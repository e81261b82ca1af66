// What the closed line of a tool call shows, from the fields of the call's input. The names of the fields are those of
// src/render/tool_call.rs.

/** @import { TaskEvent } from '../../types.d.ts' */

import { oneLine, toolSummary } from '../../safe_text.js';

const PATH_FIELDS = ['file_path', 'filePath', 'path', 'absolute_path', 'notebook_path', 'filename'];
const OLD_FIELDS = ['old_string', 'oldString', 'old_str', 'old'];
const NEW_FIELDS = ['new_string', 'newString', 'new_str', 'new'];
const CONTENT_FIELDS = ['content', 'file_text', 'contents'];
const PATCH_FIELDS = ['input', 'patch', 'patchText', 'diff'];
/** What identifies a call better than its path. */
const SUBJECT_FIELDS = ['command', 'cmd', 'script', 'pattern', 'query', 'url'];
/** A longer input is shown by its beginning only. */
const MAX_INPUT = 256 << 10;
/** The texts of a call that have more pairs of lines are not compared. */
const MAX_LINE_PAIRS = 1e5;

/**
 * @typedef {object} CallSummary
 * @property {string} tool the tool's name; of an MCP tool the server's and the tool's
 * @property {string} folder the folder of the call's file, with the last slash
 * @property {string} file
 * @property {string} text the most informative part of another call
 * @property {{ added: number, removed: number } | undefined} lines that an edit changes, if known
 */

/** Events do not change. @type {WeakMap<TaskEvent, CallSummary>} */
const summaries = new WeakMap();

/**
 * Summarises a call.
 * @param {TaskEvent} event
 */
export function summarizeCall(event) {
  let summary = summaries.get(event);
  if (!summary) {
    summary = summaryOf(event);
    summaries.set(event, summary);
  }
  return summary;
}

/**
 * @param {TaskEvent} event
 * @returns {CallSummary}
 */
function summaryOf(event) {
  const tool = toolName(event.tool_name);
  const input = event.tool_input || '';
  const fields = parseFields(input);
  const lines = fields || isPatch(input) ? changedLines(fields || {}, input) : undefined;
  const path = (fields && textField(fields, PATH_FIELDS)) || patchedFile(fields, input);
  const subject = fields && textField(fields, SUBJECT_FIELDS);
  if (path && !subject) {
    const shown = oneLine(path, 400);
    const folder = shown.replace(/[^/\\]*[/\\]?$/, '');
    return { tool, folder, file: shown.slice(folder.length), text: '', lines };
  }
  return { tool, folder: '', file: '', text: subject ? oneLine(subject) : toolSummary(input || event.tool_output), lines };
}

/**
 * Returns the exit code in a call's error, unless it is 0; else an empty string.
 * @param {string | undefined} error
 */
export function exitCode(error) {
  const [, code = '0'] = /^(?:error: )?exit code:? (-?\d+)/i.exec(error || '') || [];
  return Number(code) ? code : '';
}

/**
 * Returns the first line of an error, without an exit code that is shown already.
 * @param {string | undefined} error
 */
export const firstErrorLine = error =>
  oneLine((error || '').replace(/^(?:error: )?exit code:? -?\d+\s*/i, '').split('\n', 1)[0], 300);

/** @param {string | undefined} name */
function toolName(name = 'tool') {
  const [, server, tool] = /^mcp__(.+?)__(.+)$/.exec(name) || [];
  return oneLine(tool ? `${server} · ${tool}` : name, 60);
}

/**
 * @param {string} input
 * @returns {Record<string, unknown> | undefined}
 */
function parseFields(input) {
  if (input[0] !== '{' || input.length > MAX_INPUT) return undefined;
  try {
    return JSON.parse(input);
  } catch {
    // Truncated or not JSON.
    return undefined;
  }
}

/**
 * Returns the first of these fields that is text.
 * @param {Record<string, unknown>} fields
 * @param {string[]} names
 */
function textField(fields, names) {
  const name = names.find(candidate => typeof fields[candidate] === 'string');
  return name && /** @type {string} */ (fields[name]);
}

/** @param {string | undefined} text */
const isPatch = text => !!text && text.length <= MAX_INPUT && /^(\*\*\* Begin Patch|diff --git |--- .*\n\+\+\+ )/.test(text);

/**
 * Returns the patch of an input, which is a field of it or all of it.
 * @param {Record<string, unknown> | undefined} fields
 * @param {string} input
 */
const patchOf = (fields, input) => [fields && textField(fields, PATCH_FIELDS), input].find(isPatch);

/**
 * Returns the first file of a patch.
 * @param {Record<string, unknown> | undefined} fields
 * @param {string} input
 */
function patchedFile(fields, input) {
  const patch = patchOf(fields, input);
  return patch && /^(?:\*\*\* (?:Add|Update|Delete) File: |\+\+\+ (?:b\/)?)(.+)$/m.exec(patch)?.[1];
}

/**
 * @param {Record<string, unknown>} fields
 * @param {string} input
 */
function changedLines(fields, input) {
  const patch = patchOf(fields, input);
  if (patch) {
    const count = (/** @type {RegExp} */ sign) => patch.match(sign)?.length || 0;
    return { added: count(/^\+(?!\+\+ )/gm), removed: count(/^-(?!-- )/gm) };
  }
  const content = textField(fields, CONTENT_FIELDS);
  if (content != null && textField(fields, PATH_FIELDS)) return { added: splitLines(content).length, removed: 0 };
  const edits = /** @type {Record<string, unknown>[]} */ ([fields.edits ?? fields.edit ?? fields].flat());
  const sum = { added: 0, removed: 0 };
  let isKnown = false;
  let pairs = 0;
  for (const edit of edits) {
    if (!edit || typeof edit !== 'object') return undefined;
    const [before, after] = [textField(edit, OLD_FIELDS), textField(edit, NEW_FIELDS)];
    if (before == null && after == null) continue;
    const lines = comparedLines(splitLines(before || ''), splitLines(after || ''), MAX_LINE_PAIRS - pairs);
    if (!lines) return undefined;
    pairs += lines.pairs;
    isKnown = true;
    sum.added += lines.added;
    sum.removed += lines.removed;
  }
  return isKnown ? sum : undefined;
}

/** @param {string} text */
const splitLines = text => (text ? text.replace(/\n$/, '').split('\n') : []);

/**
 * Returns how many lines two texts do not share, and how many pairs of lines were compared; undefined if there are more
 * than `maxPairs`.
 * @param {string[]} before
 * @param {string[]} after
 * @param {number} maxPairs
 */
function comparedLines(before, after, maxPairs) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let end = 0;
  const shorter = Math.min(before.length, after.length) - start;
  while (end < shorter && before.at(-1 - end) === after.at(-1 - end)) end++;
  const oldLines = before.slice(start, before.length - end);
  const newLines = after.slice(start, after.length - end);
  const pairs = oldLines.length * newLines.length;
  if (pairs > maxPairs) return undefined;
  // The length of the longest common subsequence of the first lines of both.
  let lengths = new Array(newLines.length + 1).fill(0);
  for (const line of oldLines) {
    const next = [0];
    newLines.forEach((other, i) => next.push(line === other ? lengths[i] + 1 : Math.max(lengths[i + 1], next[i])));
    lengths = next;
  }
  const shared = lengths[newLines.length];
  return { added: newLines.length - shared, removed: oldLines.length - shared, pairs };
}
