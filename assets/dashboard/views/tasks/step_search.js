// Search in the loaded steps of a task: their texts, and the names, inputs, outputs and errors of their tools.

/** @import { TaskEvent, TimelineRow, TimelineRows } from '../../types.d.ts' */

import { element, setText, setHidden } from '../../dom.js';
import { button } from '../../components/forms.js';
import { formatCount, pluralize } from '../../format.js';

/** @typedef {TimelineRow<TaskEvent>} Step */

/** The text must be unchanged for this long before it is searched for. */
const TYPING_PAUSE_MS = 150;

/**
 * @param {Step} step
 * @param {RegExp} pattern
 */
const matches = ({ event, result }, pattern) =>
  [
    event.text,
    event.tool_name,
    event.tool_input,
    event.tool_output,
    event.error_msg,
    event.directive,
    result?.tool_output,
    result?.error_msg
  ].some(text => text && pattern.test(text));

/**
 * @param {{ show: (step: Step) => void, loadOlder: () => void, changed: () => void }} options `changed` is called when
 *   the search has changed and `update` must be called
 */
export function StepSearch({ show, loadOlder, changed }) {
  let timer = 0;
  let text = '';
  /** @type {RegExp | undefined} */
  let pattern;
  /** @type {TimelineRows<TaskEvent> | undefined} The rows that were searched. */
  let searched;
  let generation = 0;
  let start = 0;
  let end = 0;
  /** @type {Step[]} The steps that match, in their order. */
  let found = [];
  /** @type {Set<Step>} Calls without a match that had no result yet. */
  let unfinished = new Set();
  /** @type {Step | undefined} */
  let current;
  /** The direction to go in when the text has been searched for; 0 if none. */
  let wantedDirection = 0;
  /** Older pages are loaded until one has a match. */
  let isLoading = false;

  const input = element('input', {
    type: 'search',
    placeholder: 'Search in this task',
    'aria-label': 'Search in this task',
    oninput: onInput,
    onkeydown: event => {
      if (event.key !== 'Enter') return;
      event.preventDefault();
      applyInput();
      go(event.shiftKey ? -1 : 1);
    }
  });
  const count = element('span.count', { role: 'status' });
  const previousButton = button('↑', () => go(-1));
  const nextButton = button('↓', () => go(1));
  previousButton.setAttribute('aria-label', 'Previous match');
  nextButton.setAttribute('aria-label', 'Next match');
  const olderNote = element('span.older', 'Older steps are not loaded.');
  const olderButton = button('', () => {
    isLoading = !isLoading;
    if (isLoading) loadOlder();
    changed();
  });
  const root = element(
    'div.step-search',
    { role: 'search' },
    input,
    count,
    previousButton,
    nextButton,
    olderNote,
    olderButton
  );

  function onInput() {
    clearTimeout(timer);
    timer = setTimeout(applyInput, TYPING_PAUSE_MS);
  }

  function applyInput() {
    clearTimeout(timer);
    if (text === input.value.trim()) return;
    text = input.value.trim();
    pattern = text ? new RegExp(text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'i') : undefined;
    searched = undefined;
    isLoading = false;
    changed();
  }

  /**
   * @param {Step[]} steps
   * @param {RegExp} wanted
   */
  function matching(steps, wanted) {
    return steps.filter(step => {
      const isMatch = matches(step, wanted);
      if (!isMatch && step.event.stream_type === 'tool_use' && !step.result) unfinished.add(step);
      return isMatch;
    });
  }

  /**
   * Searches the rows that were not searched yet.
   * @param {TimelineRows<TaskEvent>} rows
   * @param {RegExp} wanted
   */
  function search(rows, wanted) {
    const newStart = rows.firstIndex;
    const newEnd = rows.firstIndex + rows.length;
    const isKnown = searched === rows && generation === rows.generation && start <= end && newStart < end;
    if (!isKnown) {
      unfinished = new Set();
      found = matching(rows, wanted);
    } else {
      if (newStart < start) found = [...matching(rows.slice(0, start - newStart), wanted), ...found];
      if (newEnd > end) found.push(...matching(rows.slice(end - newStart), wanted));
      // Rows may have been dropped at both ends.
      const [firstId, lastId] = [rows[0].event.id, rows[rows.length - 1].event.id];
      const ended = [...unfinished].filter(step => step.result);
      for (const step of ended) unfinished.delete(step);
      found.push(...ended.filter(step => matches(step, wanted)));
      found = found.filter(({ event: { id } }) => id >= firstId && id <= lastId);
      if (ended.length) found.sort((a, b) => a.event.id - b.event.id);
    }
    searched = rows;
    generation = rows.generation;
    start = newStart;
    end = newEnd;
  }

  /** @param {number} direction */
  function go(direction) {
    wantedDirection = searched ? 0 : direction;
    if (!searched || !found.length) return;
    const at = current ? found.indexOf(current) : -1;
    const next = at < 0 && direction < 0 ? found.length - 1 : (at + direction + found.length) % found.length;
    current = found[next];
    show(current);
    changed();
  }

  function render(/** @type {boolean} */ isComplete) {
    const at = current ? found.indexOf(current) : -1;
    const matchCount = at < 0 ? pluralize(found.length, 'match', 'matches') : `${at + 1} of ${formatCount(found.length)}`;
    setText(count, pattern ? matchCount : '');
    for (const node of [count, previousButton, nextButton]) setHidden(node, !pattern);
    previousButton.disabled = nextButton.disabled = !found.length;
    setHidden(olderNote, isComplete);
    setHidden(olderButton, isComplete);
    const label = pattern ? 'Search older steps' : 'Load older steps';
    setText(olderButton, isLoading ? 'Stop loading' : label);
  }

  return {
    root,
    focus: () => input.focus(),
    next: () => go(1),
    previous: () => go(-1),
    /** Forgets the text: another task is shown. */
    reset() {
      clearTimeout(timer);
      input.value = text = '';
      pattern = searched = current = undefined;
      found = [];
      wantedDirection = 0;
      isLoading = false;
    },
    /**
     * Searches the rows that have been loaded since, and goes on with loading older ones.
     * @param {TimelineRows<TaskEvent>} rows at least one
     */
    update(rows) {
      const former = found[0];
      if (pattern) search(rows, pattern);
      else found = [];
      if (pattern && wantedDirection) go(wantedDirection);
      if (isLoading && !rows.loadingPage) {
        const hasNewMatch = !!found[0] && found[0] !== former;
        isLoading = !!pattern && !rows.complete && !hasNewMatch;
        if (hasNewMatch) {
          current = found.findLast(step => step.event.id < (former?.event.id ?? Infinity));
          if (current) show(current);
        }
        if (isLoading) loadOlder();
      }
      render(rows.complete);
    }
  };
}
