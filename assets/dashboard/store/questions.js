// Questions to the person in threads.

/** @import { Request } from '../types.d.ts' */

import { state } from '../store.js';
import { readMark } from './read_marks.js';

/**
 * Returns the pending questions in the shape of mail.
 * @returns {Request[]}
 */
export const pendingQuestions = () =>
  [...state.questions.values()]
    .filter(message => readMark(message.thread_id) < message.message_seq)
    .map(message => ({
      ...message,
      message_id: message.id,
      from_agent: message.from_id,
      to_inbox: '',
      title: message.subject || message.content,
      payload: message.content,
      message_type: 'question',
      status: 'unread'
    }));
