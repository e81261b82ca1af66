// The state of the page, which views and components read. The modules in store/ change it, one subject each; sync.js and
// the modules in sync/ bring the rows. The state's size is bounded: timelines are kept for the threads and tasks last
// opened, mail for the mailboxes that were opened.

/** @import { Data, State } from './types.d.ts' */

import { invalidate } from './store/schedule.js';
import { capitalize } from './format.js';

/** Number of samples in a chart of activity. */
export const SAMPLES = 60;

/**
 * Returns the state before the first snapshot.
 * @returns {Data}
 */
const noData = () => ({
  loaded: false,
  totals: null,
  wake: null,
  threads: new Map(),
  tasks: new Map(),
  agents: new Map(),
  repositories: new Map(),
  telemetry: new Map(),
  mailboxes: new Map(),
  timelines: new Map(),
  commands: new Map(),
  lastEvents: new Map(),
  lastCalls: new Map(),
  activity: new Map(),
  questions: new Map(),
  readBroadcasts: new Set(),
  feed: [],
  latencies: [],
  extraItems: 0,
  lastPages: null
});

/** @type {State} */
export const state = {
  ...noData(),
  connection: { state: 'connecting', at: 0, lostAt: 0 },
  locked: false,
  unlockError: '',
  paused: 0,
  status: null,
  notice: '',
  missedEvents: 0,
  measureLatencyFrom: Infinity,
  eventRates: new Array(SAMPLES).fill(0),
  readMarks: new Map()
};

/** Drops everything that comes from the database. */
export function reset() {
  Object.assign(state, noData());
  invalidate('all');
}

/**
 * Shows a notice above the view; an empty text hides it.
 * @param {string} text
 */
export function showNotice(text) {
  state.notice = capitalize(text);
  invalidate('notice');
}
