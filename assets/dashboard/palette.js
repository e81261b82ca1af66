// The command palette (/ or Ctrl+K): runs commands, goes to agents, threads and tasks by name,
// which are matched here, and searches all texts, which the hub does.

import { element, setText, setAttribute } from './dom.js';
import { state } from './store.js';
import { search } from './sync.js';
import { Dialog } from './components.js';
import { authorOf } from './authors.js';
import { routeTo, routeToRow, routeToNewMail } from './routes.js';
import { oneLine, safeText } from './safe_text.js';

const MAX_LOCAL_RESULTS = 9;
const SEARCH_DELAY_MS = 160;
let commands = [];
/** [label, note, action]: the action is a route or a function. */
let results = [];
let selected = 0;
let searchNumber = 0;

const input = element('input', {
  role: 'combobox',
  'aria-expanded': 'true',
  'aria-controls': 'palette-results',
  'aria-autocomplete': 'list',
  'aria-label': 'Search or run a command',
  placeholder: 'Search messages, go to a view, run a command…',
  autocomplete: 'off',
  spellcheck: 'false',
  oninput: update,
  onkeydown(event) {
    const direction = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (direction) {
      selected = (selected + direction + results.length) % results.length || 0;
      markSelected();
    } else if (event.key === 'Enter') {
      run(selected);
    } else {
      return;
    }
    event.preventDefault();
  }
});
const list = element('ul', { id: 'palette-results', role: 'listbox', 'aria-label': 'Results' });
const hint = element('p.hint', { role: 'status' });
const dialog = Dialog('palette', 'Search or run a command', input, list, hint);

/** Sets the commands: [label, key, action]. */
export const setCommands = newCommands => {
  commands = newCommands;
};

function localResults(query) {
  const candidates = [
    ...commands,
    ...[...state.agents.keys()].map(id => ['Message ' + id, 'agent', routeToNewMail(id)]),
    ...[...state.threads.values()].map(thread => [thread.title || thread.id, 'thread', routeTo('threads', thread.id)]),
    ...[...state.tasks.values()].map(task => [task.directive || task.task_id, 'task', routeTo('tasks', task.task_id)])
  ];
  const words = query.toLowerCase().split(/\s+/);
  return candidates
    .filter(([label]) => words.every(word => label.toLowerCase().includes(word)))
    .slice(0, MAX_LOCAL_RESULTS);
}

function showResults(searchResults = []) {
  results = [...localResults(input.value.trim()), ...searchResults];
  selected = Math.min(selected, Math.max(0, results.length - 1));
  list.replaceChildren(
    ...results.map(([label, note], i) =>
      element(
        'li',
        { role: 'option', id: 'palette-result-' + i, onclick: () => run(i) },
        element('span.snippet', oneLine(label, 140)),
        element('span.secondary', safeText(note, 40))
      )
    )
  );
  markSelected();
}

function markSelected() {
  [...list.children].forEach((option, i) => setAttribute(option, 'aria-selected', String(i === selected)));
  setAttribute(input, 'aria-activedescendant', results.length ? 'palette-result-' + selected : null);
  list.children[selected]?.scrollIntoView({ block: 'nearest' });
}

async function update() {
  const query = input.value.trim();
  const number = ++searchNumber;
  const isCurrent = () => number === searchNumber;
  selected = 0;
  showResults();
  setText(hint, '');
  if (query.length < 2) return;
  await new Promise(resolve => setTimeout(resolve, SEARCH_DELAY_MS));
  if (!isCurrent()) return;
  try {
    const { items } = await search(query);
    if (!isCurrent()) return;
    showResults(
      items.map(item => [
        [item.title, item.snippet].filter(Boolean).join(': '),
        item.from ? authorOf(item).label : '',
        routeToRow(item)
      ])
    );
    if (!results.length) setText(hint, 'No results.');
  } catch (error) {
    if (isCurrent()) setText(hint, 'Search failed: ' + error.message);
  }
}

function run(index) {
  const action = results[index]?.[2];
  if (!action) return;
  dialog.close();
  if (typeof action === 'string') location.hash = action.slice(1);
  else action();
}

export function togglePalette() {
  if (dialog.open) return dialog.close();
  input.value = '';
  selected = 0;
  dialog.showModal();
  update();
}
