// Loads the pages of timelines.

/** @import { Page, RequestError, Timeline, TimelineEvents, TimelineKind } from '../types.d.ts' */

import { get } from '../api.js';
import { capitalize } from '../format.js';
import { state } from '../store.js';
import { refresh } from '../store/refresh.js';
import { invalidate } from '../store/schedule.js';
import { addTask } from '../store/tasks.js';
import * as store from '../store/timelines.js';
import { newTimeline, append, appendPage, prepend } from '../store/timeline.js';
import { PAGE_SIZE, END, loadPage } from './rows.js';

/** @typedef {'before' | 'after'} Direction */

/**
 * Fetches rows before or after a position.
 * @template E
 * @param {Timeline<E>} timeline
 * @param {Direction} direction
 * @param {number} position
 * @returns {Promise<Page<E>>}
 */
export function fetchRows(timeline, direction, position, limit = PAGE_SIZE) {
  const param = direction === 'before' ? timeline.beforeParam : timeline.afterParam;
  const path = timeline.kind + '/' + encodeURIComponent(timeline.id) + timeline.path;
  return get(path, { [param]: position, limit });
}

/**
 * Loads the summary of a task that is not among the loaded ones.
 * @param {string} id
 */
async function loadTask(id) {
  try {
    addTask(await get('tasks/' + encodeURIComponent(id)));
    invalidate('tasks');
  } catch {
    // There is no such task yet.
  }
}

/**
 * Returns the timeline of a thread or task, and loads it if it is not in memory.
 * @template {TimelineKind} K
 * @param {K} kind
 * @param {string} id
 * @returns {Timeline<TimelineEvents[K]>}
 */
export function openTimeline(kind, id) {
  if (kind === 'tasks' && state.loaded && !state.tasks.has(id)) void loadTask(id);
  const timeline = store.openTimeline(kind, id);
  if (timeline.loading && !timeline.busy && state.loaded) void loadTimeline(timeline);
  return timeline;
}

/**
 * Reloads the timeline: its end, or the rows before a position, which may not reach the end.
 * @param {Timeline<any>} timeline
 */
export async function loadTimeline(timeline, before = END) {
  timeline.loading = true;
  while (timeline.busy) await timeline.busy;
  Object.assign(timeline, newTimeline(timeline.kind, timeline.id));
  await loadRows(timeline, 'before', before);
  if (timeline.rows.detached) void loadNewer(timeline);
}

/**
 * Reloads the end of a timeline if its last loaded row is not the newest.
 * @param {TimelineKind} kind
 * @param {string} id
 */
export function returnToLatest(kind, id) {
  const timeline = state.timelines.get(kind + '/' + id);
  if (timeline?.rows.detached) void loadTimeline(timeline);
}

/** @param {Timeline<any>} timeline */
export const loadNewer = timeline => loadRows(timeline, 'after', timeline.last);

/**
 * Loads a page, one at a time. Live events are queued meanwhile: the ids of task events have gaps, so only their order
 * counts.
 * @param {Timeline<any>} timeline
 * @param {Direction} direction
 * @param {number} position
 */
const loadRows = (timeline, direction, position) => (timeline.busy ||= fetchAndAppend(timeline, direction, position));

/**
 * @param {Timeline<any>} timeline
 * @param {Direction} direction
 * @param {number} position
 */
async function fetchAndAppend(timeline, direction, position) {
  try {
    const { items, next } = await fetchRows(timeline, direction, position);
    const { rows } = timeline;
    const hasNext = next != null;
    timeline.error = '';
    const isKept = appendPage(timeline, items);
    if (direction === 'before') {
      rows.complete = !hasNext;
      rows.detached = position < END;
    } else if (rows.detached) {
      rows.detached = hasNext || !isKept;
    } else if (hasNext) {
      refresh.timeline(timeline);
    }
  } catch (error) {
    const { status, message } = /** @type {RequestError} */ (error);
    if (status !== 404) timeline.error = capitalize(message);
  }
  const wasFirstLoad = timeline.loading;
  timeline.busy = null;
  timeline.loading = false;
  for (const event of timeline.pending.splice(0)) if (!append(timeline, event)) refresh.timeline(timeline);
  invalidate(wasFirstLoad ? 'all' : 'timeline');
}

/** @param {Timeline<any>} timeline */
export function loadOlder(timeline) {
  const { rows, first } = timeline;
  if (rows.complete || !first) return;
  void loadPage(
    rows,
    () => fetchRows(timeline, 'before', first),
    ({ items, next }) => {
      invalidate('timeline');
      // The timeline may have been reloaded, or have dropped its first rows, meanwhile.
      if (rows !== timeline.rows || first !== timeline.first) return;
      rows.complete = next == null;
      prepend(timeline, items);
    }
  );
}
