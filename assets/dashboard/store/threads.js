// Threads and their messages.

/** @import { Message, Thread, ThreadRow } from '../types.d.ts' */

import { state } from '../store.js';
import { HUMAN, isByPerson } from '../authors.js';
import { invalidate } from './schedule.js';
import { refresh } from './refresh.js';
import { evictOldest } from './eviction.js';
import { noteActivity } from './activity.js';
import { addToFeed } from './feed.js';
import { addToTimeline } from './timelines.js';

/**
 * Adds or updates a thread.
 * @param {ThreadRow} row
 * @returns {Thread}
 */
export function putThread(row) {
  const { threads } = state;
  let thread = threads.get(row.id);
  if (!thread) {
    refresh.totals();
    // The messages of a row from HTTP, which has a `created_at`, are not new.
    const fedSeq = (row.created_at && row.last_seq) || 0;
    thread = { id: row.id, title: '', status: 'active', last_seq: 0, updated_at: 0, fedSeq };
    threads.set(row.id, thread);
    evictOldest('threads');
  }
  // thread_state events may be coalesced and arrive after newer messages: these two only grow.
  const last_seq = Math.max(thread.last_seq, row.last_seq || 0);
  const updated_at = Math.max(thread.updated_at, toMilliseconds(row.updated_at));
  Object.assign(thread, row, { last_seq, updated_at });
  invalidate('threads');
  return thread;
}

/** @param {number | string | undefined} time */
const toMilliseconds = time => (typeof time === 'string' ? Date.parse(time) : time) || 0;

/** @param {Message} message */
export function putMessage(message) {
  const time = message.created_at;
  const thread = putThread({ id: message.thread_id, last_seq: message.message_seq, updated_at: time });
  if (message.message_seq > thread.fedSeq) {
    thread.fedSeq = message.message_seq;
    thread.preview = message;
    if (!isByPerson(message)) noteActivity(message.from_id, time);
    trackQuestion(message);
    addToFeed('message', time, message);
  }
  addToTimeline('threads', message.thread_id, message);
}

/**
 * Keeps a question to the person. It is pending until the person reads it or writes to the thread.
 * @param {Message} message
 */
export function trackQuestion(message) {
  const { questions } = state;
  if (isByPerson(message)) {
    for (const [id, question] of questions) {
      if (question.thread_id === message.thread_id && question.message_seq < message.message_seq) questions.delete(id);
    }
  }
  if (message.kind === 'question' && message.to_id === HUMAN) questions.set(message.id, message);
}

/** Returns the number of all threads; the page may have fewer. */
export const threadCount = () => Math.max(state.threads.size, state.totals?.threads || 0);
