// The timelines of the threads and tasks last opened.

/** @import { Timeline, TimelineEvents, TimelineKind } from '../types.d.ts' */

import { state } from '../store.js';
import { newTimeline, append } from './timeline.js';
import { invalidate } from './schedule.js';
import { refresh } from './refresh.js';

const MAX_TIMELINES = 8;

/**
 * Returns the timeline of a thread or task. Creates it if it is not in memory.
 * @template {TimelineKind} K
 * @param {K} kind
 * @param {string} id
 * @returns {Timeline<TimelineEvents[K]>}
 */
export function openTimeline(kind, id) {
  const { timelines } = state;
  const key = kind + '/' + id;
  const timeline = timelines.get(key) || newTimeline(kind, id);
  // A Map keeps the order of insertion: the first is the least recently opened.
  timelines.delete(key);
  timelines.set(key, timeline);
  const [oldestKey] = timelines.keys();
  if (timelines.size > MAX_TIMELINES) timelines.delete(oldestKey);
  return timeline;
}

/**
 * Adds an event to the timeline of its thread or task if that is kept.
 * @template {TimelineKind} K
 * @param {K} kind
 * @param {string} id
 * @param {TimelineEvents[K]} event
 */
export function addToTimeline(kind, id, event) {
  const timeline = state.timelines.get(kind + '/' + id);
  if (timeline) {
    if (timeline.busy || timeline.loading) timeline.pending.push(event);
    else if (!append(timeline, event)) refresh.timeline(timeline);
  }
  invalidate('timeline');
}
