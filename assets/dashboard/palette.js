// The command palette (/ or Ctrl+K): runs commands, goes to agents, threads and tasks by name, which are matched here, and
// searches all texts, which the hub does.

/** @import { Author, CommandEntry, SearchResult } from './types.d.ts' */

import { element, setText, setAttribute } from './dom.js';
import { state } from './store.js';
import { summarizeAgents } from './store/agents.js';
import { search } from './sync/requests.js';
import { shownStatus } from './store/tasks.js';
import { Dialog } from './components/forms.js';
import { Initials, Tag } from './components/labels.js';
import { agentAuthor, agentName, authorOf } from './authors.js';
import { formatAge } from './format.js';
import { routeTo, routeToAgent, routeToRow, routeToNewMail } from './routes.js';
import { oneLine, safeText } from './safe_text.js';

const MAX_LOCAL_RESULTS = 9;
const MIN_SEARCH_LENGTH = 2;
const SEARCH_DELAY_MS = 160;

/**
 * `note()` returns the command's keys, or what the result is. `status` is that of a task, a thread or an agent. The action
 * is a route or a function. An agent has a mark.
 * @typedef {object} Result
 * @property {string} label
 * @property {() => string} note
 * @property {string} [status]
 * @property {CommandEntry['action']} action
 * @property {Author} [author]
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
  commands = entries.map(({ label, keys, action }) => ({ label, note: () => keys, action }));
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
 * Returns what distinguishes results with the same text: their kind, an agent or an id, and their age.
 * @param {string} kind
 * @param {string} name
 * @param {number | undefined} time
 */
const noteOf = (kind, name, time) => [kind, oneLine(name, 40), formatAge(time)].filter(Boolean).join(' · ');

/**
 * @template {{ updated_at: number }} T
 * @param {T[]} items
 */
const newestFirst = items => items.sort((a, b) => b.updated_at - a.updated_at);

/** @param {SearchResult} row */
function kindOf(row) {
  if (row.task_id) return 'step';
  return row.message_seq ? 'message' : 'mail';
}

/**
 * @param {string} query
 * @returns {Result[]}
 */
function localResults(query) {
  const candidates = [
    ...commands,
    ...summarizeAgents().map(({ row, status, at }) => ({
      label: row.id,
      note: () => noteOf('agent', '', at),
      status,
      action: routeToAgent(row.id),
      author: agentAuthor(row.id)
    })),
    ...[...state.agents.keys()].map(id => ({
      label: 'Message ' + id,
      note: () => 'agent',
      action: routeToNewMail(id)
    })),
    ...newestFirst([...state.threads.values()]).map(thread => ({
      label: thread.title || thread.id,
      note: () => noteOf('thread', thread.title ? thread.id : '', thread.updated_at),
      status: thread.status === 'active' ? '' : thread.status,
      action: routeTo('threads', thread.id)
    })),
    ...newestFirst([...state.tasks.values()]).map(task => ({
      label: task.directive || task.task_id,
      note: () => noteOf('task', task.agent_id && agentName(task.agent_id), task.updated_at),
      status: shownStatus(task),
      action: routeTo('tasks', task.task_id)
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
  note: () => noteOf(kindOf(row), row.from ? authorOf(row).label : '', row.created_at),
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
      statusTag(result.status),
      element('span.secondary', safeText(result.note(), 100))
    )
  );
  list.replaceChildren(...options);
  markSelected();
}

/** @param {string | undefined} status */
function statusTag(status) {
  const tag = Tag();
  tag.set(status);
  return tag.root;
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
