// Provides the requests that the store makes (store/refresh.js): data that events do not carry.

/** @import { Timeline, WakeResponse } from '../types.d.ts' */

import { get } from '../api.js';
import { startOfDay } from '../format.js';
import { state } from '../store.js';
import { putAgents } from '../store/agents.js';
import { refresh } from '../store/refresh.js';
import { invalidate } from '../store/schedule.js';
import { putTask } from '../store/tasks.js';
import * as rows from './rows.js';
import { loadNewer } from './timelines.js';

/** Minimum time between two requests of which mail wakes which agents. */
const WAKE_INTERVAL_MS = 2000;
/** Minimum time between two requests of branches: the hub reads files for each. */
const REPOSITORIES_INTERVAL_MS = 10000;
const TIMELINE_DELAY_MS = 250;
/** Obstacles to a wake that end without an event, after half a minute at most. */
const PASSING_OBSTACLES = new Set(['begun', 'too_soon']);

/**
 * Returns a function that runs `load` after `delayMs()`; calls until then are merged into that one.
 * @param {() => number} delayMs
 * @param {() => Promise<void>} load
 */
function merged(delayMs, load) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      // A failed request is made again by the next event or interval.
      if (state.loaded && !state.locked) load().catch(() => {});
    }, delayMs());
  };
}

/**
 * Returns a function that runs `load` after a delay.
 * @param {number} ms
 * @param {() => Promise<void>} load
 */
const delayed = (ms, load) => merged(() => ms, load);

/**
 * Returns a function that runs `load` at once if the last time is `ms` ago.
 * @param {number} ms
 * @param {() => Promise<void>} load
 */
function spaced(ms, load) {
  let startedAt = -Infinity;
  return merged(
    () => Math.max(0, startedAt + ms - performance.now()),
    () => {
      startedAt = performance.now();
      return load();
    }
  );
}

async function loadStatus() {
  state.status = await get('status');
  invalidate('connection');
}

async function loadMailboxes() {
  rows.putMailboxes(await rows.fetchMailboxes());
  invalidate('inbox');
}

async function loadTasks() {
  const page = await rows.fetchTasks({});
  page.items.forEach(putTask);
  invalidate('tasks');
}

async function loadTotals() {
  state.totals = await rows.fetchTotals();
  invalidate('tasks');
  invalidate('threads');
  invalidate('inbox');
}

async function loadCosts() {
  const today = await rows.fetchCosts('day', startOfDay());
  state.costToday = today.items.reduce((sum, item) => sum + item.cost, 0);
  invalidate('costs');
}

async function loadWake() {
  /** @type {WakeResponse} */
  const wake = await get('wake');
  state.wake = { ...wake, agents: new Map(wake.agents.map(agent => [agent.agent, agent])) };
  if (wake.agents.some(({ obstacle }) => PASSING_OBSTACLES.has(obstacle))) refresh.wake();
  invalidate('agents');
}

async function loadRepositories() {
  const { items } = await rows.fetchRepositories();
  state.repositories = new Map(items.map(item => [item.workspace, item]));
  invalidate('agents');
}

/** @param {Timeline<any>} timeline */
function loadTimelineSoon(timeline) {
  timeline.timer ||= setTimeout(() => {
    timeline.timer = 0;
    loadNewer(timeline);
  }, TIMELINE_DELAY_MS);
}

Object.assign(refresh, {
  status: delayed(0, loadStatus),
  agents: delayed(1000, async () => putAgents((await rows.fetchRecentAgents()).items)),
  repositories: spaced(REPOSITORIES_INTERVAL_MS, loadRepositories),
  telemetry: delayed(1000, async () => rows.putTelemetryRows(await rows.fetchTelemetry())),
  mailboxes: delayed(700, loadMailboxes),
  tasks: delayed(3000, loadTasks),
  totals: delayed(1000, loadTotals),
  costs: delayed(5000, loadCosts),
  wake: spaced(WAKE_INTERVAL_MS, loadWake),
  timeline: loadTimelineSoon
});
