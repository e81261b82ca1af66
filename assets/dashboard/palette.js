// The command palette (/ or Ctrl+K): runs commands, goes to agents, threads and tasks by name, which are matched here, and
// searches all texts, which the hub does.

/** @import { Author, CommandEntry, SearchResult } from './types.d.ts' */

import { element, setText, setAttribute } from './dom.js';
import { state } from './store.js';
import { summarizeAgents } from './store/agents.js';
import { search } from './sync/requests.js';
import { Dialog } from './components/forms.js';
import { Initials } from './components/labels.js';
import { agentAuthor, authorOf } from './authors.js';
import { routeTo, routeToAgent, routeToRow, routeToNewMail } from './routes.js';
import { oneLine, safeText } from './safe_text.js';

const MAX_LOCAL_RESULTS = 9;
const MIN_SEARCH_LENGTH = 2;
const SEARCH_DELAY_MS = 160;

/**
 * `note` is the command's keys, or what the result is. The action is a route or a function. An agent has a mark.
 * @typedef {{ label: string, note: string, action: CommandEntry['action'], author?: Author }} Result
 */

/** @type {Result[]} */
let commands = [];
/** @type {Result[]} */
let results = [];
/** @type {HTMLElement[]} */
let options = [];
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
  oninput: () => void update(),
  onkeydown
});
const list = element('ul', { id: 'palette-results', role: 'listbox', 'aria-label': 'Results' });
const hint = element('p.hint', { role: 'status' });
const dialog = Dialog('palette', 'Search or run a command', input, list, hint);

/**
 * Sets the commands.
 * @param {CommandEntry[]} entries
 */
export function setCommands(entries) {
  commands = entries.map(({ label, keys, action }) => ({ label, note: keys, action }));
}

/** Opens or closes the palette. */
export function togglePalette() {
  if (dialog.open) return dialog.close();
  input.value = '';
  selected = 0;
  dialog.showModal();
  void update();
}

/** @param {KeyboardEvent} event */
function onkeydown(event) {
  if (event.key === 'ArrowDown') moveSelection(1);
  else if (event.key === 'ArrowUp') moveSelection(-1);
  else if (event.key === 'Enter') run(results[selected]);
  else return;
  event.preventDefault();
}

/** @param {number} offset */
function moveSelection(offset) {
  selected = (selected + offset + results.length) % results.length || 0;
  markSelected();
}

/**
 * @param {string} query
 * @returns {Result[]}
 */
function localResults(query) {
  const candidates = [
    ...commands,
    ...summarizeAgents().map(({ row, status }) => ({
      label: row.id,
      note: 'agent, ' + status,
      action: routeToAgent(row.id),
      author: agentAuthor(row.id)
    })),
    ...[...state.agents.keys()].map(id => ({ label: 'Message ' + id, note: 'agent', action: routeToNewMail(id) })),
    ...[...state.threads.values()].map(({ id, title }) => ({
      label: title || id,
      note: 'thread',
      action: routeTo('threads', id)
    })),
    ...[...state.tasks.values()].map(({ task_id, directive }) => ({
      label: directive || task_id,
      note: 'task',
      action: routeTo('tasks', task_id)
    }))
  ];
  const words = query.toLowerCase().split(/\s+/);
  return candidates
    .filter(({ label }) => words.every(word => label.toLowerCase().includes(word)))
    .slice(0, MAX_LOCAL_RESULTS);
}

/**
 * @param {SearchResult} row
 * @returns {Result}
 */
const searchResult = row => ({
  label: [row.title, row.snippet].filter(Boolean).join(': '),
  note: row.from ? authorOf(row).label : '',
  action: routeToRow(row)
});

/**
 * Shows what matches the input on this page, and after it what the hub has found.
 * @param {Result[]} found
 */
function showResults(found) {
  results = [...localResults(input.value.trim()), ...found];
  selected = Math.min(selected, Math.max(0, results.length - 1));
  options = results.map((result, i) =>
    element(
      'li',
      { role: 'option', id: 'palette-result-' + i, onclick: () => run(result) },
      ...(result.author ? [markOf(result.author)] : []),
      element('span.snippet', oneLine(result.label, 140)),
      element('span.secondary', safeText(result.note, 40))
    )
  );
  list.replaceChildren(...options);
  markSelected();
}

/** @param {Author} author */
function markOf(author) {
  const initials = Initials();
  initials.set(author);
  return initials.root;
}

function markSelected() {
  options.forEach((option, i) => setAttribute(option, 'aria-selected', String(i === selected)));
  setAttribute(input, 'aria-activedescendant', results.length ? 'palette-result-' + selected : null);
  options[selected]?.scrollIntoView({ block: 'nearest' });
}

async function update() {
  const query = input.value.trim();
  const number = ++searchNumber;
  const isCurrent = () => number === searchNumber;
  selected = 0;
  showResults([]);
  setText(hint, '');
  if (query.length < MIN_SEARCH_LENGTH) return;
  await new Promise(resolve => setTimeout(resolve, SEARCH_DELAY_MS));
  if (!isCurrent()) return;
  try {
    const { items } = await search(query);
    if (!isCurrent()) return;
    showResults(items.map(searchResult));
    if (!results.length) setText(hint, 'No results.');
  } catch (error) {
    if (isCurrent()) setText(hint, 'Search failed: ' + /** @type {Error} */ (error).message);
  }
}

/** @param {Result | undefined} result */
function run(result) {
  if (!result) return;
  dialog.close();
  if (typeof result.action === 'string') location.hash = result.action.slice(1);
  else result.action();
}
