// How far the person has read each thread. This browser keeps it.

/** @import { Thread } from '../types.d.ts' */

import { state } from '../store.js';
import { loadSetting, saveSetting } from '../storage.js';
import { invalidate } from './schedule.js';
import { KEPT_ITEMS } from './eviction.js';

/** The epoch of the database whose threads are marked. */
let epoch = '';
let isChanged = false;

/**
 * Loads the read marks of a database. Another database has another epoch and numbers its messages itself.
 * @param {string} currentEpoch
 */
export function loadReadMarks(currentEpoch) {
  const [savedEpoch, marks] = loadSetting('seen') || [];
  epoch = currentEpoch;
  state.readMarks.clear();
  if (savedEpoch === epoch) for (const [threadId, seq] of marks) state.readMarks.set(threadId, seq);
}

/** Saves the read marks if they have changed. */
export function saveReadMarks() {
  if (isChanged) saveSetting('seen', [epoch, [...state.readMarks].slice(-KEPT_ITEMS)]);
  isChanged = false;
}

/**
 * Returns the message_seq up to which the person has read a thread.
 * @param {string} threadId
 */
export const readMark = threadId => state.readMarks.get(threadId) || 0;

/**
 * @param {string} threadId
 * @param {number} seq
 */
export function markThreadRead(threadId, seq) {
  if (state.readMarks.has(threadId) && readMark(threadId) >= seq) return;
  state.readMarks.set(threadId, seq);
  isChanged = true;
  invalidate('threads');
}

/** @param {Thread} thread */
export const unreadCount = thread => Math.max(0, thread.last_seq - readMark(thread.id));
