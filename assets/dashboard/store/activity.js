// What has happened in the last minutes, and what happens every second.

import { state, SAMPLES } from '../store.js';
import { chooseMark } from '../agent_marks.js';
import { HUMAN } from '../authors.js';
import { invalidate } from './schedule.js';
import { refresh } from './refresh.js';
import { saveReadMarks } from './read_marks.js';

const SECONDS_PER_SAMPLE = 5;
const SECONDS_PER_AGENT_REFRESH = 3;
let seconds = 0;

/**
 * Records that an agent was active.
 * @param {string | undefined} agentId
 * @param {number} time
 */
export function noteActivity(agentId, time) {
  if (!agentId || agentId === HUMAN) return;
  if (state.loaded) countActivity(agentId);
  const agent = state.agents.get(agentId);
  if (!agent) {
    state.agents.set(agentId, { id: agentId, last_active_at: time });
    chooseMark(agentId);
    refresh.agents();
  } else if (time > agent.last_active_at) {
    agent.last_active_at = time;
  }
  invalidate('agents');
}

/** @param {string} agentId */
function countActivity(agentId) {
  let samples = state.activity.get(agentId);
  if (!samples) {
    samples = new Array(SAMPLES).fill(0);
    state.activity.set(agentId, samples);
  }
  samples[SAMPLES - 1]++;
}

/** Starts the next sample of the charts; called every second. */
export function onSecond() {
  shiftSamples(state.eventRates);
  seconds++;
  if (seconds % SECONDS_PER_SAMPLE === 0) state.activity.forEach(shiftSamples);
  // No event reports a changed status or label, or an agent that only reads.
  if (seconds % SECONDS_PER_AGENT_REFRESH === 0 && !document.hidden) {
    refresh.agents();
    refresh.repositories();
  }
  saveReadMarks();
  invalidate('tick');
}

/** @param {number[]} samples */
function shiftSamples(samples) {
  samples.shift();
  samples.push(0);
}
