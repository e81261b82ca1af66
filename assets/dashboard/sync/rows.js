// Fetches rows over HTTP and puts them into the store.

/** @import { Agent, CostGroup, InboxRow, Mail, Page, Query } from '../types.d.ts' */
/** @import { Task, TelemetryRow, ThreadRow, TimelineKind, Totals, WorkspaceRepository } from '../types.d.ts' */

import { get } from '../api.js';
import { startOfDay } from '../format.js';
import { putTelemetry } from '../store/agents.js';
import { openMailbox } from '../store/mail.js';
import { addTask } from '../store/tasks.js';
import { putThread } from '../store/threads.js';

export const PAGE_SIZE = 200;
/** A position after every row. */
export const END = Number.MAX_SAFE_INTEGER;

/** Limits how much is loaded of lists that are usually short. */
const MAX_PAGES = 5;
const MAX_PAGE_SIZE = 1000;

/**
 * Fetches the first pages of a list as one page.
 * @template T
 * @param {string} path
 * @returns {Promise<Page<T>>}
 */
async function fetchPages(path) {
  /** @type {Page<T>} */
  const all = { items: [], next: null };
  for (let page = 0; page < MAX_PAGES; page++) {
    /** @type {Page<T>} */
    const { items, next } = await get(path, { limit: MAX_PAGE_SIZE, before: all.next });
    all.items.push(...items);
    all.next = next;
    if (next == null) break;
  }
  return all;
}

/**
 * Fetches the agents that were active last.
 * @returns {Promise<Page<Agent>>}
 */
export const fetchRecentAgents = () => get('agents');
/** @returns {Promise<Page<Agent>>} */
export const fetchAgents = () => fetchPages('agents');
/** @returns {Promise<Page<WorkspaceRepository>>} */
export const fetchRepositories = () => get('repositories');
/** @returns {Promise<Page<TelemetryRow>>} */
export const fetchTelemetry = () => fetchPages('telemetry');
/** @returns {Promise<Page<InboxRow>>} */
export const fetchMailboxes = () => get('inboxes');
/** @returns {Promise<Totals>} */
export const fetchTotals = () => get('totals', { since: startOfDay() });

/**
 * Fetches a page of threads, most recently active first.
 * @param {Query} query
 * @returns {Promise<Page<ThreadRow>>}
 */
export const fetchThreads = query => get('threads', { limit: PAGE_SIZE, ...query });

/**
 * Fetches a page of tasks, most recently active first.
 * @param {Query} query
 * @returns {Promise<Page<Task>>}
 */
export const fetchTasks = query => get('tasks', { limit: PAGE_SIZE, ...query });

/**
 * Fetches a page of mail of a mailbox, newest first.
 * @param {string} mailboxName
 * @param {Query} query
 * @returns {Promise<Page<Mail>>}
 */
export function fetchMail(mailboxName, query = {}) {
  return get('inbox', { ...mailboxFilter(mailboxName), limit: PAGE_SIZE, ...query });
}

/**
 * @param {string} mailboxName
 * @returns {Query}
 */
function mailboxFilter(mailboxName) {
  if (mailboxName === '*') return {};
  return mailboxName[0] === '>' ? { from: mailboxName.slice(1) } : { inbox: mailboxName };
}

/**
 * Fetches the sums since a time, grouped by agent, model, workspace, day or hour.
 * @param {string} groupBy
 * @param {number} since
 * @returns {Promise<Page<CostGroup>>}
 */
export const fetchCosts = (groupBy, since) => get('costs', { by: groupBy, since });

/** @param {Page<TelemetryRow>} page */
export const putTelemetryRows = page => page.items.forEach(row => putTelemetry(row, row.created_at));
/** @param {Page<InboxRow>} page */
export const putMailboxes = page =>
  page.items.forEach(({ inbox, unread, total }) => Object.assign(openMailbox(inbox), { unread, total }));

/**
 * How the pages of the two long lists are fetched and put into the store.
 * @type {Record<TimelineKind, { fetch(query: Query): Promise<Page<any>>, put(page: Page<any>): void }>}
 */
export const LISTS = {
  threads: { fetch: fetchThreads, put: page => page.items.forEach(putThread) },
  tasks: { fetch: fetchTasks, put: page => page.items.forEach(addTask) }
};

/**
 * Loads the next page of `owner`, one at a time. Ignores failures.
 * @template T
 * @param {{ loadingPage?: boolean }} owner
 * @param {() => Promise<T>} request
 * @param {(page: T) => void} use
 */
export async function loadPage(owner, request, use) {
  if (owner.loadingPage) return;
  owner.loadingPage = true;
  try {
    use(await request());
  } catch {
    // The next scroll event tries again.
  }
  owner.loadingPage = false;
}
