// Requests of single views, whose results do not go into the store.

/** @import { AgentDetails, BrowserSession, EditedFile, Page, SearchResult, TaskEvent } from '../types.d.ts' */

import { get, post } from '../api.js';
import { state } from '../store.js';
import { refresh } from '../store/refresh.js';

/**
 * Searches all texts.
 * @param {string} text
 * @returns {Promise<Page<SearchResult>>}
 */
export const search = text => get('search', { q: text, limit: 8 });

/**
 * Fetches the browsers that have a key.
 * @returns {Promise<Page<BrowserSession>>}
 */
export const fetchSessions = () => get('sessions');

/**
 * Fetches an agent with its sessions and its repository.
 * @param {string} id
 * @returns {Promise<AgentDetails>}
 */
export const fetchAgent = id => get('agents/' + encodeURIComponent(id));

/**
 * Fetches the files that a task has edited, the last edited first.
 * @param {string} id
 * @returns {Promise<{ items: EditedFile[], has_more: boolean }>}
 */
export const fetchTaskFiles = id => get(`tasks/${encodeURIComponent(id)}/files`);

/**
 * Yields every event of a task.
 * @param {string} id
 * @returns {AsyncGenerator<TaskEvent>}
 */
export async function* fetchTaskEvents(id) {
  /** @type {Page<TaskEvent>['next']} */
  let after = 0;
  while (after != null) {
    /** @type {Page<TaskEvent>} */
    const page = await get('tasks/' + encodeURIComponent(id) + '/events', { after, limit: 1000 });
    yield* page.items;
    after = page.next;
  }
}

/**
 * Wakes an idle agent for the mail that waits for it.
 * @param {string} id
 */
export async function wakeAgent(id) {
  await post(`agents/${encodeURIComponent(id)}/wake`);
  const agent = state.wake?.agents.get(id);
  if (agent) Object.assign(agent, { obstacle: 'begun', reason: '' });
  refresh.wake();
}
