// Requests what the page of an agent shows and the store does not have: its sessions, its usage, the files of its tasks.

/** @import { AgentDetails, CostGroup, EditedFile, RequestError, Task } from '../../types.d.ts' */

import { invalidate } from '../../store/schedule.js';
import { fetchAgent, fetchTaskFiles } from '../../sync/requests.js';
import { fetchCosts } from '../../sync/rows.js';
import { startOfDay } from '../../format.js';

const DETAILS_INTERVAL_MS = 5000;
const FILES_INTERVAL_MS = 5000;
const TODAY_INTERVAL_MS = 10000;
/** The hub reads all reports for it. */
const TOTAL_INTERVAL_MS = 60000;
/** The files of so many tasks are shown, those that were active last. */
const MAX_TASKS = 5;

/** @typedef {EditedFile & { task_id: string }} AgentFile */

/**
 * What the hub has returned for one agent. `isMissing`: it has no such agent.
 * @typedef {object} AgentData
 * @property {string} id
 * @property {AgentDetails} [details]
 * @property {boolean} [isMissing]
 * @property {CostGroup | null} [today] what it has used today; null if nothing
 * @property {CostGroup | null} [total]
 * @property {AgentFile[]} [files]
 * @property {boolean} [hasMoreFiles]
 */

/**
 * Fetches what an agent has used since a time.
 * @param {string} id
 * @param {number} since
 */
async function fetchUsage(id, since) {
  const { items } = await fetchCosts('agent', since);
  return items.find(group => group.key === id) || null;
}

/**
 * Adds up the edits of a file by several tasks.
 * @param {AgentFile[]} files
 */
function mergedFiles(files) {
  /** @type {Map<string, AgentFile>} */
  const byPath = new Map();
  for (const file of files.toSorted((a, b) => b.last_at - a.last_at)) {
    const known = byPath.get(file.path);
    if (known) known.edits += file.edits;
    else byPath.set(file.path, { ...file });
  }
  return [...byPath.values()];
}

export function AgentDataLoader() {
  /** @type {AgentData} */
  let data = { id: '' };
  /** What each request was made for last, and when. */
  /** @type {Map<string, { key: string, at: number }>} */
  let requests = new Map();

  /**
   * Runs `load` if `key` has changed, at most once in an interval.
   * @param {string} name
   * @param {string} key
   * @param {number} intervalMs
   * @param {(loading: AgentData) => Promise<void>} load
   */
  function refresh(name, key, intervalMs, load) {
    const last = requests.get(name);
    if (last && (last.key === key || Date.now() - last.at < intervalMs)) return;
    requests.set(name, { key, at: Date.now() });
    const loading = data;
    // A failed request is made again after the next change.
    load(loading).then(() => loading === data && invalidate('agents'), () => {});
  }

  return {
    /**
     * Returns what is known about an agent, and requests what has changed.
     * @param {string} id
     * @param {number} activeAt the time of its last activity
     * @param {Task[]} tasks its tasks, the last active first
     */
    of(id, activeAt, tasks) {
      if (data.id !== id) {
        data = { id };
        requests = new Map();
      }
      // Branches change without an event.
      const interval = String(Math.floor(Date.now() / (3 * DETAILS_INTERVAL_MS)));
      refresh('details', activeAt + interval, DETAILS_INTERVAL_MS, async loading => {
        try {
          loading.details = await fetchAgent(id);
          loading.isMissing = false;
        } catch (error) {
          loading.isMissing = /** @type {RequestError} */ (error).status === 404;
        }
      });
      refresh('today', String(activeAt), TODAY_INTERVAL_MS, async loading => {
        loading.today = await fetchUsage(id, startOfDay());
      });
      refresh('total', String(activeAt), TOTAL_INTERVAL_MS, async loading => {
        loading.total = await fetchUsage(id, 0);
      });
      const newest = tasks.slice(0, MAX_TASKS);
      const taskKeys = newest.map(task => task.task_id + task.last_id).join('\n');
      refresh('files', taskKeys, FILES_INTERVAL_MS, async loading => {
        const lists = await Promise.all(newest.map(task => fetchTaskFiles(task.task_id)));
        const files = lists.flatMap(({ items }, i) => items.map(file => ({ ...file, task_id: newest[i].task_id })));
        loading.files = mergedFiles(files);
        loading.hasMoreFiles = tasks.length > newest.length || lists.some(list => list.has_more);
      });
      return data;
    }
  };
}
