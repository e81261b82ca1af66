// Limits how many threads and tasks the page keeps.

/** @import { Task, Thread, TimelineKind } from '../types.d.ts' */

import { state } from '../store.js';

/** Threads and tasks that are kept, not counting those that were loaded by scrolling. */
export const KEPT_ITEMS = 2000;
/** Sorting all items costs more than O(1), so many are dropped at once. */
const BATCH = 200;

/**
 * Drops the oldest threads or tasks above the limit, but none that is running or open.
 * @param {TimelineKind} kind
 */
export function evictOldest(kind) {
  const items = /** @type {Map<string, Thread | Task>} */ (state[kind]);
  if (items.size < KEPT_ITEMS + state.extraItems + BATCH) return;
  const oldest = [...items]
    .filter(([id, item]) => item.status !== 'running' && !state.timelines.has(kind + '/' + id))
    .sort(([, a], [, b]) => a.updated_at - b.updated_at);
  for (const [id] of oldest.slice(0, BATCH)) items.delete(id);
}
