// The feed on Now: the newest messages, mail and steps.

/** @import { FeedEntry, Mail, Message } from '../types.d.ts' */

import { state } from '../store.js';
import { invalidate } from './schedule.js';

const MAX_ENTRIES = 300;
let lastKey = 0;

/**
 * Adds a new row at the top.
 * @param {FeedEntry['type']} type
 * @param {number} time
 * @param {FeedEntry['row']} row
 */
export function addToFeed(type, time, row) {
  state.feed.unshift(/** @type {FeedEntry} */ ({ key: ++lastKey, type, time, row }));
  if (state.feed.length > MAX_ENTRIES) state.feed.length = MAX_ENTRIES;
  invalidate('feed');
}

/**
 * Adds rows below the others that were written before the page opened.
 * @param {({ type: 'mail', row: Mail } | { type: 'message', row: Message })[]} rows
 */
export function addOlderToFeed(rows) {
  const entries = rows.map(entry => ({ ...entry, key: -++lastKey, time: entry.row.created_at }));
  state.feed.push(...entries.sort((a, b) => b.time - a.time));
  invalidate('feed');
}
