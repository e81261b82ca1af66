// The commands of the page: views to go to, pause, themes. Keys (keyboard.js), the palette and buttons run them.

/** @import { CommandEntry } from './types.d.ts' */

import { setText, setAttribute } from './dom.js';
import { capitalize } from './format.js';
import { setCommands, togglePalette } from './palette.js';
import { routeToNewMail } from './routes.js';
import { toggleShortcuts } from './shortcuts.js';
import { loadSetting, saveSetting } from './storage.js';
import { state } from './store.js';
import { invalidate } from './store/schedule.js';

/** @type {Map<string, string>} After `g`: the key of a view. */
export const VIEW_KEYS = new Map([
  ['n', 'now'],
  ['a', 'agents'],
  ['t', 'tasks'],
  ['h', 'threads'],
  ['i', 'inbox'],
  ['c', 'costs'],
  ['s', 'setup']
]);
const THEMES = ['system', 'light', 'dark'];

/** @param {string} id */
const byId = id => /** @type {HTMLElement} */ (document.getElementById(id));
const themeButton = byId('theme');

// ---- theme ----

const currentTheme = () => loadSetting('theme') || 'system';

function showTheme() {
  const theme = currentTheme();
  setAttribute(document.documentElement, 'data-theme', theme);
  setText(themeButton, capitalize(theme));
  setAttribute(themeButton, 'aria-label', 'Theme: ' + theme);
}

/** @param {string} theme */
function setTheme(theme) {
  saveSetting('theme', theme);
  showTheme();
}

const nextTheme = () => THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];

// ---- pause and shortcuts ----

/** Events that arrive while the page is paused are kept and shown on resume. */
export function togglePause() {
  state.paused = state.paused ? 0 : 1;
  invalidate('all');
}

let singleKeysEnabled = loadSetting('keys') !== false;

/** Returns whether keys without a modifier run commands. */
export const areSingleKeysEnabled = () => singleKeysEnabled;

export function showShortcuts() {
  toggleShortcuts(COMMANDS, singleKeysEnabled, enabled => {
    singleKeysEnabled = enabled;
    saveSetting('keys', enabled);
  });
}

// ---- all commands ----

/** @type {CommandEntry[]} */
const COMMANDS = [
  ...[...VIEW_KEYS].map(([key, name]) => ({ label: capitalize(name), keys: 'g ' + key, action: '#/' + name })),
  { label: 'New message', keys: 'm', action: routeToNewMail() },
  { label: 'Pause / resume', keys: 'Space', action: togglePause },
  { label: 'Keyboard shortcuts', keys: '?', action: showShortcuts },
  { label: 'Search or run a command', keys: '/', action: togglePalette },
  ...THEMES.map(theme => ({ label: 'Theme: ' + theme, keys: '', action: () => setTheme(theme) }))
];

/** Gives the commands to the palette and to the buttons of the sidebar. */
export function startCommands() {
  setCommands(COMMANDS);
  byId('pill').onclick = togglePause;
  byId('find').onclick = togglePalette;
  byId('keys').onclick = showShortcuts;
  themeButton.onclick = () => setTheme(nextTheme());
  showTheme();
}
