// What the page shows outside of the view: the state of the connection, the notice, the counts in the sidebar, the title
// and the icon, and announcements to screen readers.

import { setText, setAttribute, setHidden } from './dom.js';
import { formatClock, formatCount, formatDayUnlessToday, formatMoney, formatTime, pluralize } from './format.js';
import { currentView } from './router.js';
import { safeText } from './safe_text.js';
import { showNotice, state } from './store.js';
import { needsAttention } from './store/attention.js';
import { pendingMailCount } from './store/mail.js';
import { unreadCount } from './store/read_marks.js';
import { hasStatus, taskCount } from './store/tasks.js';

const ALERT_ICON =
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='-1 -1 2 2'><circle r='1' fill='orange'/></svg>";
/** Pauses between announcements: a screen reader must not speak all the time. */
const SECONDS_BETWEEN_ANNOUNCEMENTS = 4;
/** An attempt to connect that is this close is shown as under way. */
const SOON_MS = 500;

/** A connection that is lost for a shorter time is not mentioned. */
const GRACE_MS = 2000;

/** @param {string} id */
const byId = id => /** @type {HTMLElement} */ (document.getElementById(id));
const pill = byId('pill');
const announcements = byId('announcements');
const noticeBar = byId('notice');
const noticeText = /** @type {HTMLElement} */ (noticeBar.querySelector('p'));
const banner = byId('banner');
const [bannerText, bannerAdvice] = banner.querySelectorAll('span');
const serveCommand = /** @type {HTMLElement} */ (bannerAdvice.querySelector('code'));
const dismissButton = /** @type {HTMLElement} */ (noticeBar.querySelector('button'));
const favicon = /** @type {HTMLLinkElement} */ (document.querySelector('[rel=icon]'));
const defaultIcon = favicon.href;

dismissButton.onclick = () => showNotice('');

// ---- announcements: only the newest ----

let nextAnnouncement = '';
let secondsToWait = 0;

/** @param {string} text */
function announce(text) {
  nextAnnouncement = text;
}

/** Speaks the next announcement if the last one was some seconds ago; called every second. */
export function speakAnnouncement() {
  if (!nextAnnouncement || secondsToWait-- > 0) return;
  setText(announcements, nextAnnouncement);
  nextAnnouncement = '';
  secondsToWait = SECONDS_BETWEEN_ANNOUNCEMENTS;
}

// ---- connection ----

let announcedState = '';

/** @typedef {{ word: string, label: string }} Shown `word` selects the colour */

/** @returns {Shown} */
function shownConnection() {
  const { state: connection, at } = state.connection;
  const now = Date.now();
  if (state.locked) return { word: 'locked', label: 'Locked' };
  switch (connection) {
    case 'stale':
      return { word: 'stale', label: 'No response ' + formatClock((now - at) / 1e3) };
    case 'foreign':
      return { word: 'foreign', label: 'Not your hub' };
    case 'retry': {
      const seconds = Math.ceil((at - now) / 1e3);
      return { word: 'retry', label: at > now + SOON_MS ? `Reconnecting in ${seconds} s` : 'Reconnecting' };
    }
    case 'live':
      return shownHub();
    default:
      return { word: 'connecting', label: 'Connecting' };
  }
}

/**
 * While the page is connected.
 * @returns {Shown}
 */
function shownHub() {
  if (!state.loaded) return { word: 'connecting', label: 'Connecting' };
  const hubState = state.status?.state || 'ok';
  if (hubState !== 'ok') return { word: 'stale', label: 'Hub: ' + safeText(hubState, 40) };
  if (state.paused) return { word: 'paused', label: `Paused · ${formatCount(state.paused - 1)} new` };
  return { word: 'live', label: `Live · ${formatCount(state.eventRates.at(-2))} ev/s` };
}

export function renderConnection() {
  const { word, label } = shownConnection();
  setText(pill, label);
  setAttribute(pill, 'data-state', word);
  setAttribute(pill, 'aria-pressed', String(!!state.paused));
  renderBanner();
  // The banner announces a lost connection.
  if (word === announcedState || (state.connection.state !== 'live' && !state.locked)) return;
  if (word !== 'connecting') announce(label);
  announcedState = word;
}

/** Returns what is wrong with the connection, and from when the data is; an empty string while it is updated. */
function outageText() {
  const { state: connection, lostAt } = state.connection;
  const isStarting = connection === 'connecting' && !state.loaded;
  if (state.locked || isStarting || !lostAt || Date.now() - lostAt < GRACE_MS) return '';
  const time = (formatDayUnlessToday(lostAt) + ' ' + formatTime(lostAt).slice(0, 'HH:MM'.length)).trim();
  const age = state.loaded ? ` Showing data from ${time}.` : '';
  if (connection === 'stale') return 'The hub does not respond.' + age;
  if (connection === 'foreign') return `Disconnected.${age} Another program answers at ${location.host}.`;
  return 'Disconnected.' + age;
}

function renderBanner() {
  const text = outageText();
  const wasHidden = banner.hidden;
  const { state: connection } = state.connection;
  setText(bannerText, text);
  setText(serveCommand, state.commands.get('serve')?.command || 'agenthub serve');
  setHidden(bannerAdvice, connection === 'stale' || connection === 'foreign');
  setHidden(banner, !text);
  setAttribute(banner, 'data-state', connection === 'foreign' ? 'foreign' : 'disconnected');
  // The styles show times as possibly out of date.
  setAttribute(document.documentElement, 'data-stale', !!text);
  if (text && wasHidden) announce(text + (bannerAdvice.hidden ? '' : bannerAdvice.textContent));
  if (!text && !wasHidden && connection === 'live') announce('Connected');
}

export function renderNotice() {
  setText(noticeText, state.notice);
  setHidden(noticeBar, !state.notice);
}

// ---- counts ----

let attentionCount = 0;

/**
 * The badge of a view in the sidebar.
 * @param {string} viewName
 * @param {string} meaning
 */
function Badge(viewName, meaning) {
  const node = /** @type {HTMLElement} */ (document.querySelector(`[data-view=${viewName}] > b`));
  return (/** @type {number | undefined} */ count, format = formatCount) => {
    const label = format(count);
    setText(node, label);
    setHidden(node, !count);
    node.title = label + ' ' + meaning;
  };
}
const setTasks = Badge('tasks', 'running');
const setThreads = Badge('threads', 'with unread messages');
const setInbox = Badge('inbox', 'unread messages to you');
const setCosts = Badge('costs', 'today');

/** Updates the title, the icon and the badges, also while the page is hidden. */
export function renderCounts() {
  setTasks(taskCount('running', hasStatus('running')));
  // What the person has read is kept in this browser: of threads that are not loaded the number is not known.
  const more = state.lastPages?.threads.next ? '+' : '';
  setThreads([...state.threads.values()].filter(unreadCount).length, count => formatCount(count) + more);
  setInbox(pendingMailCount());
  setCosts(state.costToday, formatMoney);
  const { count } = needsAttention();
  const { title: viewTitle } = currentView();
  const title = (count ? `(${count}) ` : '') + (viewTitle && viewTitle + ' · ') + 'agenthub';
  if (document.title !== title) document.title = title;
  if (count === attentionCount) return;
  if (count > attentionCount && state.loaded) {
    announce(pluralize(count, 'item needs', 'items need') + ' your attention');
  }
  attentionCount = count;
  favicon.href = count ? ALERT_ICON : defaultIcon;
}
