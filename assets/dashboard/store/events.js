// Applies an event of the WebSocket to the state. An event costs O(1).

/** @import { HubEvent } from '../types.d.ts' */

import { state, SAMPLES } from '../store.js';
import { putMessage, putThread } from './threads.js';
import { putMail } from './mail.js';
import { putTaskEvent } from './tasks.js';
import { putTelemetry } from './agents.js';

const LATENCY_SAMPLES = 200;
let nextLatencySample = 0;

/** @param {HubEvent} event */
export function applyEvent(event) {
  const createdAt = event.data && 'created_at' in event.data ? event.data.created_at : 0;
  const time = createdAt || event.timestamp;
  state.eventRates[SAMPLES - 1]++;
  if (state.paused) state.paused++;
  if (Date.now() > state.measureLatencyFrom && time) {
    state.latencies[nextLatencySample++ % LATENCY_SAMPLES] = Date.now() - time;
  }
  switch (event.type) {
    case 'message':
      return putMessage(event.data);
    case 'batch':
      return event.data.messages.forEach(putMessage);
    case 'thread_state':
      return void putThread({ ...event.data, id: event.data.thread_id });
    case 'inbox_message':
      return putMail(event.data);
    case 'telemetry':
      return putTelemetry(event.data, time);
    case 'task_stream':
      return putTaskEvent(event.data, time);
  }
}
