// What the person does in threads.

/** @import { Message } from '../types.d.ts' */

import { patch } from '../api.js';
import { putMessage, putThread } from '../store/threads.js';
import { postAsPerson } from './person.js';

/**
 * Posts a message to a thread.
 * @param {string} threadId
 * @param {Partial<Message> & { reply_to?: string }} body
 */
export async function postMessage(threadId, body) {
  putMessage(await postAsPerson('threads/' + encodeURIComponent(threadId) + '/messages', body));
}

/**
 * @param {string} id
 * @param {string} status
 */
export async function setThreadStatus(id, status) {
  putThread(await patch('threads/' + encodeURIComponent(id), { status }));
}
