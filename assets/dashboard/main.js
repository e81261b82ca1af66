// Starts the page: routing, the sidebar, the connection status, keyboard shortcuts.
// The URL's fragment is the route and holds the state of a view (#/tasks?q=status:failed), so that
// Back works and links can be kept. A view is created when it is first shown:
//   { root, title, keys?, route?(parts, params), render(topics) }

import { element, setText, setAttribute, setHidden } from './dom.js';
import {
  state,
  setRenderer,
  onSecond,
  eventRates,
  needsAttention,
  pendingMailCount,
  taskCount,
  hasStatus,
  invalidate,
  unreadCount
} from './store.js';
import { takeCodeFromUrl } from './session.js';
import { loadSetting, saveSetting } from './storage.js';
import * as sync from './sync.js';
import { capitalize, formatCount, formatMoney, formatClock, pluralize } from './format.js';
import { decode, routeToNewMail } from './routes.js';
import { safeText } from './safe_text.js';
import { togglePalette, setCommands } from './palette.js';
import { toggleShortcuts } from './shortcuts.js';
import now from './views/now.js';
import tasks from './views/tasks.js';
import threads from './views/threads.js';
import inbox from './views/inbox.js';
import costs from './views/costs.js';
import setup from './views/setup.js';
import lock from './views/lock.js';

const VIEWS = { now, tasks, threads, inbox, costs, setup, lock };
/** After `g`: the key of a view. */
const VIEW_KEYS = { n: 'now', t: 'tasks', h: 'threads', i: 'inbox', c: 'costs', s: 'setup' };
const CHORD_MS = 900;
const FOCUS_DELAY_MS = 60;
const FOCUS_ATTEMPTS = 5;
const ALERT_ICON =
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='-1 -1 2 2'><circle r='1' fill='orange'/></svg>";

const byId = id => document.getElementById(id);
const main = byId('main');
const navLinks = [...document.querySelectorAll('[data-view]')];
const agentNames = element('datalist', { id: 'agents' });
const pill = byId('pill');
const noticeBar = byId('notice');
const favicon = document.querySelector('[rel=icon]');
const defaultIcon = favicon.href;

const createdViews = {};
let view;
let announcedState = '';
let attentionCount = 0;
let chordStartedAt = 0;
let singleKeysEnabled = loadSetting('keys') !== false;

// ---- routes ----

/**
 * Moves the focus to the heading, or to the row it came from, if the focused element was removed with its view.
 * Lists render when their size is known, so this is tried several times.
 */
function restoreFocus(attemptsLeft) {
  const focused = document.activeElement;
  if (focused !== document.body && focused.offsetParent) return;
  const candidates = main.querySelectorAll('.detail > header [tabindex], .row > a:not([tabindex="-1"])');
  const target = [...candidates].find(node => node.offsetParent);
  if (target || !attemptsLeft) (target || main).focus();
  else setTimeout(restoreFocus, FOCUS_DELAY_MS, attemptsLeft - 1);
}

function showRoute() {
  const [path, query] = location.hash.slice(2).split('?');
  const [requested, ...parts] = path.split('/').map(decode);
  const isView = requested !== 'lock' && Object.hasOwn(VIEWS, requested);
  const name = state.locked ? 'lock' : isView ? requested : 'now';
  const nextView = (createdViews[name] ||= VIEWS[name]());
  const hadFocus = view && main.contains(document.activeElement);
  if (nextView !== view) {
    view = nextView;
    main.replaceChildren(view.root);
    for (const link of navLinks) {
      const isCurrent = link.dataset.view === name;
      setAttribute(link, 'aria-current', isCurrent ? 'page' : null);
      if (isCurrent) link.scrollIntoView({ block: 'nearest' });
    }
  }
  view.route?.(parts.filter(Boolean), new URLSearchParams(query));
  invalidate('all');
  if (hadFocus) setTimeout(restoreFocus, FOCUS_DELAY_MS, FOCUS_ATTEMPTS);
}

// ---- status ----

/** Announcements to screen readers: only the newest, at most one every five seconds. */
const SECONDS_BETWEEN_ANNOUNCEMENTS = 4;
let nextAnnouncement = '';
let secondsToWait = 0;
const announce = text => {
  nextAnnouncement = text;
};
function speakAnnouncement() {
  if (!nextAnnouncement || secondsToWait-- > 0) return;
  setText(byId('announcements'), nextAnnouncement);
  nextAnnouncement = '';
  secondsToWait = SECONDS_BETWEEN_ANNOUNCEMENTS;
}

function shownConnectionState(hubProblem) {
  if (state.locked) return 'locked';
  if (state.connection.state !== 'live') return state.connection.state;
  if (!state.loaded) return 'connecting';
  if (hubProblem) return 'stale';
  return state.paused ? 'paused' : 'live';
}

function renderConnection() {
  const { state: connection, at } = state.connection;
  const now = Date.now();
  const hubProblem = state.status && state.status.state !== 'ok' && state.status.state;
  const shown = shownConnectionState(hubProblem);
  const labels = {
    locked: 'Locked',
    connecting: 'Connecting',
    live: `Live · ${formatCount(eventRates.at(-2))} ev/s`,
    paused: `Paused · ${formatCount(state.paused - 1)} new`,
    stale: connection === 'stale' ? 'No response ' + formatClock((now - at) / 1e3) : 'Hub: ' + safeText(hubProblem, 40),
    foreign: 'Not your hub',
    retry: at > now + 500 ? `Reconnecting in ${Math.ceil((at - now) / 1e3)} s` : 'Reconnecting'
  };
  setText(pill, labels[shown]);
  setAttribute(pill, 'data-state', shown);
  setAttribute(pill, 'aria-pressed', String(!!state.paused));
  if (shown !== announcedState && shown !== 'connecting') {
    announce(pill.textContent);
    announcedState = shown;
  }
}

/** Updates the title, the icon and the badges, also while the page is hidden. */
function renderCounts() {
  const attention = needsAttention();
  const unread = pendingMailCount();
  const running = taskCount('running', hasStatus('running'));
  const unreadThreads = [...state.threads.values()].filter(unreadCount).length;
  for (const [name, count, label, meaning] of [
    ['tasks', running, formatCount(running), 'running'],
    ['threads', unreadThreads, formatCount(unreadThreads), 'with unread messages'],
    ['inbox', unread, formatCount(unread), 'unread messages to you'],
    ['costs', state.costToday, formatMoney(state.costToday), 'today']
  ]) {
    const badge = navLinks.find(link => link.dataset.view === name).lastElementChild;
    setText(badge, label);
    setHidden(badge, !count);
    badge.title = label + ' ' + meaning;
  }
  const { count } = attention;
  const title = (count ? `(${count}) ` : '') + (view.title && view.title + ' · ') + 'agenthub';
  if (document.title !== title) document.title = title;
  if (count === attentionCount) return;
  if (count > attentionCount && state.loaded) {
    announce(pluralize(count, 'item needs', 'items need') + ' your attention');
  }
  attentionCount = count;
  favicon.href = count ? ALERT_ICON : defaultIcon;
}

setRenderer(topics => {
  if (state.locked !== (view === createdViews.lock)) return showRoute();
  if (topics.has('notice')) {
    setText(noticeBar.firstElementChild, state.notice);
    setHidden(noticeBar, !state.notice);
  }
  if (topics.has('reconnected')) {
    sync.showNotice(`Reconnected. ${pluralize(state.missedEvents, 'missed event')} loaded.`);
  }
  renderConnection();
  if (topics.has('all')) renderCounts();
  // While paused, events are kept and shown on resume. The effect of the person's own actions ('all') is shown at once.
  if (!state.paused || topics.has('all')) view.render(topics);
});

setInterval(() => {
  onSecond();
  renderCounts();
  speakAnnouncement();
  if (state.agents.size !== agentNames.size) {
    agentNames.size = state.agents.size;
    agentNames.replaceChildren(...[...state.agents.keys()].slice(0, 60).map(id => element('option', { value: id })));
  }
}, 1000);

// ---- commands ----

const THEMES = ['system', 'light', 'dark'];
const currentTheme = () => loadSetting('theme') || 'system';
function showTheme() {
  const theme = currentTheme();
  setAttribute(document.documentElement, 'data-theme', theme);
  setText(byId('theme'), capitalize(theme));
  setAttribute(byId('theme'), 'aria-label', 'Theme: ' + theme);
}
function setTheme(theme) {
  saveSetting('theme', theme);
  showTheme();
}

function togglePause() {
  state.paused = state.paused ? 0 : 1;
  invalidate('all');
}

function showShortcuts() {
  toggleShortcuts(COMMANDS, singleKeysEnabled, enabled => {
    singleKeysEnabled = enabled;
    saveSetting('keys', enabled);
  });
}

/** [label, keys, action]: the action is a route or a function. */
const COMMANDS = [
  ...Object.entries(VIEW_KEYS).map(([key, name]) => [capitalize(name), 'g ' + key, '#/' + name]),
  ['New message', 'm', routeToNewMail()],
  ['Pause / resume', 'Space', togglePause],
  ['Keyboard shortcuts', '?', showShortcuts],
  ['Search or run a command', '/', togglePalette],
  ...THEMES.map(theme => ['Theme: ' + theme, '', () => setTheme(theme)])
];
setCommands(COMMANDS);

// ---- keyboard ----

/** Leaves a text field, or closes the open item of the view. */
function onEscape(target, isTyping) {
  const [, name, rest] = location.hash.split(/[/?]/);
  if (isTyping) target.blur();
  else if (rest) location.hash = view.root.querySelector('.back')?.getAttribute('href') || '#/' + name;
}

function focusFirstItem() {
  const candidates = main.querySelectorAll('.row > a:not([tabindex="-1"]), .board a');
  [...candidates].find(link => link.offsetParent)?.focus();
}

function actionOf(key, target, isChord) {
  if (isChord) {
    return () => {
      location.hash = '#/' + VIEW_KEYS[key];
    };
  }
  const pausesOnSpace = !target.matches('a, button, summary, [type=checkbox]');
  const globalKeys = {
    '/': togglePalette,
    '?': showShortcuts,
    o: () => target.click?.(),
    j: focusFirstItem,
    k: focusFirstItem,
    ' ': pausesOnSpace ? togglePause : null
  };
  return view.keys?.[key] || globalKeys[key];
}

addEventListener('keydown', event => {
  const { key, target } = event;
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  const isTyping = target.matches('input:not([type=checkbox]), textarea, select');
  if (key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    return togglePalette();
  }
  if (hasModifier || document.querySelector('dialog[open]') || event.defaultPrevented) return;
  if (key === 'Escape') return onEscape(target, isTyping);
  if (isTyping || !singleKeysEnabled || state.locked) return;
  const isChord = VIEW_KEYS[key] && Date.now() - chordStartedAt < CHORD_MS;
  chordStartedAt = key === 'g' ? Date.now() : 0;
  const action = actionOf(key, target, isChord);
  if (action) {
    event.preventDefault();
    action();
  }
});

// ---- start ----

noticeBar.lastElementChild.onclick = () => sync.showNotice('');
pill.onclick = togglePause;
byId('find').onclick = togglePalette;
byId('keys').onclick = showShortcuts;
byId('theme').onclick = () => setTheme(THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length]);
// The fragment is the route, so the skip link must not change it.
byId('skip').onclick = event => {
  event.preventDefault();
  main.focus();
};
addEventListener('hashchange', () => {
  const code = takeCodeFromUrl();
  if (code) sync.useLink(code);
  showRoute();
});
document.body.append(agentNames);
showTheme();
const code = takeCodeFromUrl();
showRoute();
sync.start(code);
