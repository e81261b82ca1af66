// Loads further pages of the lists of threads and tasks.

/** @import { TimelineKind } from '../types.d.ts' */

import { state } from '../store.js';
import { KEPT_ITEMS } from '../store/eviction.js';
import { invalidate } from '../store/schedule.js';
import { LISTS, loadPage } from './rows.js';

/**
 * Loads the next page of threads or tasks.
 * @param {TimelineKind} kind
 */
export function loadMoreItems(kind) {
  const lastPage = state.lastPages?.[kind];
  if (!lastPage?.next) return;
  const list = LISTS[kind];
  void loadPage(
    lastPage,
    () => list.fetch({ before: lastPage.next }),
    page => {
      state.extraItems += page.items.length;
      list.put(page);
      lastPage.next = page.next;
      invalidate(kind);
    }
  );
}

/**
 * Loads pages, one per call, until KEPT_ITEMS are loaded, for a search. Returns whether more exist.
 * @param {TimelineKind} kind
 */
export function loadForSearch(kind) {
  const next = state.lastPages?.[kind].next;
  if (next && state[kind].size < KEPT_ITEMS) loadMoreItems(kind);
  return !!next;
}
