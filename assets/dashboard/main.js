// Starts the page.

import { element } from './dom.js';
import { pluralize } from './format.js';
import { startCommands } from './commands.js';
import { startKeyboard } from './keyboard.js';
import { currentView, isOutdated, main, showRoute } from './router.js';
import { takeCodeFromUrl } from './session.js';
import { renderConnection, renderCounts, renderNotice, speakAnnouncement } from './status_bar.js';
import { showNotice, state } from './store.js';
import { onSecond } from './store/activity.js';
import { setRenderer } from './store/schedule.js';
import * as sync from './sync.js';

const MAX_SUGGESTED_NAMES = 60;

/** The names of the agents, which fields for a recipient suggest. */
const agentNames = element('datalist', { id: 'agents' });
let suggestedFrom = 0;

function renderAgentNames() {
  if (suggestedFrom === state.agents.size) return;
  suggestedFrom = state.agents.size;
  const names = [...state.agents.keys()].slice(0, MAX_SUGGESTED_NAMES);
  agentNames.replaceChildren(...names.map(name => element('option', { value: name })));
}

setRenderer(topics => {
  if (isOutdated()) return showRoute();
  if (topics.has('notice')) renderNotice();
  if (topics.has('reconnected')) {
    showNotice(`Reconnected. ${pluralize(state.missedEvents, 'missed event')} loaded.`);
  }
  renderConnection();
  if (topics.has('all')) renderCounts();
  // While paused, events are kept and shown on resume. The effect of the person's own actions ('all') is shown at once.
  if (!state.paused || topics.has('all')) currentView().render(topics);
});

setInterval(() => {
  onSecond();
  renderCounts();
  speakAnnouncement();
  renderAgentNames();
}, 1000);

// The fragment is the route, so the skip link must not change it.
const skipLink = /** @type {HTMLElement} */ (document.getElementById('skip'));
skipLink.onclick = event => {
  event.preventDefault();
  main.focus();
};
addEventListener('hashchange', () => {
  const code = takeCodeFromUrl();
  if (code) void sync.useLink(code);
  showRoute();
});
document.body.append(agentNames);
startCommands();
startKeyboard();
const code = takeCodeFromUrl();
showRoute();
void sync.start(code);
