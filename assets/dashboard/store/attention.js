// What needs the person: pending mail, questions in threads, and agents that failed or wait.

/** @import { Attention, Request } from '../types.d.ts' */

import { state } from '../store.js';
import { isTroubled, summarizeAgents } from './agents.js';
import { pendingMail, pendingMailCount } from './mail.js';
import { readMark } from './read_marks.js';

/**
 * Returns the pending questions in the shape of mail.
 * @returns {Request[]}
 */
const pendingQuestions = () =>
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

/**
 * Returns what needs the person, as shown on Now, in the title, the icon and the sidebar.
 * @returns {Attention}
 */
export function needsAttention(agents = summarizeAgents()) {
  const questions = pendingQuestions();
  const troubled = agents.filter(isTroubled);
  const requestCount = pendingMailCount() + questions.length;
  return {
    requests: [...pendingMail(), ...questions],
    troubled,
    requestCount,
    count: requestCount + troubled.length
  };
}
