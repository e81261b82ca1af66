// Shows the view of the route. The URL's fragment is the route and holds the state of a view (#/tasks?q=status:failed), so
// that Back works and links can be kept.

/** @import { View } from './types.d.ts' */

import { setAttribute } from './dom.js';
import { decode } from './routes.js';
import { state } from './store.js';
import { invalidate } from './store/schedule.js';
import NowView from './views/now.js';
import AgentsView from './views/agents.js';
import TasksView from './views/tasks.js';
import ThreadsView from './views/threads.js';
import InboxView from './views/inbox.js';
import CostsView from './views/costs.js';
import SetupView from './views/setup.js';
import LockView from './views/lock.js';

/** @type {Map<string, () => View>} The views by their name in the route. */
const VIEWS = new Map([
  ['now', NowView],
  ['agents', AgentsView],
  ['tasks', TasksView],
  ['threads', ThreadsView],
  ['inbox', InboxView],
  ['costs', CostsView],
  ['setup', SetupView]
]);
const FIRST_VIEW = 'now';
/** The view that takes the place of all others while the page is locked. It has no route. */
const LOCK = 'lock';
const FOCUS_DELAY_MS = 60;
const FOCUS_ATTEMPTS = 5;

export const main = /** @type {HTMLElement} */ (document.getElementById('main'));
/** @type {HTMLElement[]} */
const navLinks = [...document.querySelectorAll('[data-view]')].map(link => /** @type {HTMLElement} */ (link));

/** @type {Map<string, View>} */
const createdViews = new Map();
/** @type {View} */
let view;
let viewName = '';

/** Returns the view that is shown. */
export const currentView = () => view;

/** Returns whether the locked page shows a view, or the unlocked page shows none. */
export const isOutdated = () => state.locked !== (viewName === LOCK);

/** @param {string} name */
function openView(name) {
  const known = createdViews.get(name);
  if (known) return known;
  const created = (VIEWS.get(name) || LockView)();
  createdViews.set(name, created);
  return created;
}

/** Shows the view of the current route. */
export function showRoute() {
  const [path, query] = location.hash.slice(2).split('?');
  const [requested, ...parts] = path.split('/').map(decode);
  const name = VIEWS.has(requested) ? requested : FIRST_VIEW;
  const hadFocus = view && main.contains(document.activeElement);
  switchTo(state.locked ? LOCK : name);
  view.route?.(parts.filter(Boolean), new URLSearchParams(query));
  invalidate('all');
  if (hadFocus) setTimeout(restoreFocus, FOCUS_DELAY_MS, FOCUS_ATTEMPTS);
}

/** @param {string} name */
function switchTo(name) {
  if (name === viewName) return;
  view = openView(name);
  viewName = name;
  main.replaceChildren(view.root);
  for (const link of navLinks) {
    const isCurrent = link.dataset.view === name;
    setAttribute(link, 'aria-current', isCurrent ? 'page' : null);
    if (isCurrent) link.scrollIntoView({ block: 'nearest' });
  }
}

/**
 * Moves the focus to the heading, or to the row it came from, if the focused element was removed with its view.
 * Lists render when their size is known, so this is tried several times.
 * @param {number} attemptsLeft
 */
function restoreFocus(attemptsLeft) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  if (focused !== document.body && focused?.offsetParent) return;
  const target = firstVisible('.detail > header [tabindex], .agent-page > header [tabindex], .row > a:not([tabindex="-1"])');
  if (target || !attemptsLeft) (target || main).focus();
  else setTimeout(restoreFocus, FOCUS_DELAY_MS, attemptsLeft - 1);
}

/** Moves the focus to the first item of the view. */
export const focusFirstItem = () => firstVisible('.row > a:not([tabindex="-1"]), .board a')?.focus();

/**
 * Returns the first visible element of the view that matches.
 * @param {string} selector
 */
function firstVisible(selector) {
  const candidates = /** @type {NodeListOf<HTMLElement>} */ (main.querySelectorAll(selector));
  return [...candidates].find(node => node.offsetParent);
}

/** Leaves the open item of the view. */
export function closeItem() {
  const [, name, rest] = location.hash.split(/[/?]/);
  if (rest) location.hash = view.root.querySelector('.back')?.getAttribute('href') || '#/' + name;
}
