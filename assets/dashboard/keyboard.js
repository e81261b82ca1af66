// Keyboard shortcuts. Single keys are those of the view, then those of the page; `g` and a letter go to a view.

import { areSingleKeysEnabled, showShortcuts, togglePause, VIEW_KEYS } from './commands.js';
import { togglePalette } from './palette.js';
import { closeItem, currentView, focusFirstItem } from './router.js';
import { state } from './store.js';

/** Maximum time between `g` and the key of a view. */
const CHORD_MS = 900;
const TEXT_INPUTS = 'input:not([type=checkbox]), textarea, select';
/** Elements that Space activates. */
const SPACE_TARGETS = 'a, button, summary, [type=checkbox]';

let chordStartedAt = 0;

/** @type {Map<string, (target: HTMLElement) => void>} */
const PAGE_KEYS = new Map([
  ['/', togglePalette],
  ['?', showShortcuts],
  ['o', (/** @type {HTMLElement} */ target) => target.click?.()],
  ['j', () => focusFirstItem()],
  ['k', () => focusFirstItem()],
  [' ', togglePause]
]);

/**
 * Returns what a single key does.
 * @param {string} key
 * @param {HTMLElement} target
 */
function actionOf(key, target) {
  const viewName = VIEW_KEYS.get(key);
  if (viewName && Date.now() - chordStartedAt < CHORD_MS) {
    return () => {
      location.hash = '#/' + viewName;
    };
  }
  const viewKeys = currentView().keys || {};
  if (Object.hasOwn(viewKeys, key)) return viewKeys[key];
  return key === ' ' && target.matches(SPACE_TARGETS) ? undefined : PAGE_KEYS.get(key);
}

/** @param {KeyboardEvent} event */
function onKeydown(event) {
  const { key } = event;
  const target = /** @type {HTMLElement} */ (event.target);
  const isTyping = target.matches(TEXT_INPUTS);
  if (key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    return togglePalette();
  }
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  if (hasModifier || document.querySelector('dialog[open]') || event.defaultPrevented) return;
  if (key === 'Escape') return isTyping ? target.blur() : closeItem();
  if (isTyping || !areSingleKeysEnabled() || state.locked) return;
  const action = actionOf(key, target);
  chordStartedAt = key === 'g' ? Date.now() : 0;
  if (!action) return;
  event.preventDefault();
  action(target);
}

export const startKeyboard = () => addEventListener('keydown', onKeydown);
