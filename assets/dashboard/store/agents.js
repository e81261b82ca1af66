// Agents, what they use, and what they do now.

/** @import { Agent, AgentStatus, AgentSummary, AgentUsage, InstanceUsage, TelemetryRow } from '../types.d.ts' */

import { state } from '../store.js';
import { chooseMark } from '../agent_marks.js';
import { HUMAN } from '../authors.js';
import { loadSetting, saveSetting } from '../storage.js';
import { invalidate } from './schedule.js';
import { refresh } from './refresh.js';
import { noteActivity } from './activity.js';
import { isFailure } from './tasks.js';
import { agentWait, expectsReply } from './waits.js';
import { pendingMail } from './mail.js';
import { pendingQuestions } from './questions.js';

const DAY_MS = 864e5;
/** A running session or task without activity for this long counts as idle. */
const RUNNING_TIMEOUT_MS = 3e5;
/** The status of agents that the person should look at. */
const TROUBLED = new Set(['error', 'waiting']);
/** The numbers in telemetry rows that are added up per agent. */
const USAGE_FIELDS = /** @type {const} */ (['turns', 'tokens_in', 'tokens_out', 'cost']);

/** @param {AgentSummary} agent */
export const isTroubled = agent => TROUBLED.has(agent.status);

/**
 * Puts agents in the order of their first rows, from which their marks follow.
 * @param {Agent[]} rows
 */
export function putAgents(rows) {
  const byFirstRow = rows.toSorted((a, b) => (a.created_at || 0) - (b.created_at || 0) || (a.id < b.id ? -1 : 1));
  byFirstRow.forEach(putAgent);
}

/** @param {Agent} row */
function putAgent(row) {
  chooseMark(row.id);
  const known = state.agents.get(row.id);
  const lastKnown = known?.last_active_at || 0;
  // A session may begin or end without an event.
  if (known?.status !== row.status || row.last_active_at > lastKnown) refresh.wake();
  const last_active_at = Math.max(row.last_active_at, lastKnown);
  state.agents.set(row.id, { ...row, last_active_at });
  invalidate('agents');
}

/**
 * @param {TelemetryRow} row
 * @param {number} time
 */
export function putTelemetry(row, time) {
  const usage = { ...state.telemetry.get(row.instance_id), ...row, at: time };
  state.telemetry.set(row.instance_id, usage);
  if (!usage.agent_id) refresh.telemetry();
  refresh.costs();
  noteActivity(usage.agent_id, time);
  invalidate('agents');
}

/**
 * Adds the totals of one run of an agent to its usage in the last 24 hours; the Costs view has the rest.
 * @param {AgentUsage} usage
 * @param {InstanceUsage} instance
 * @param {number} now
 */
function addUsage(usage, instance, now) {
  if (instance.at > now - DAY_MS) {
    for (const field of USAGE_FIELDS) usage[field] = (usage[field] || 0) + (instance[field] || 0);
  }
  if (instance.at >= usage.at) {
    Object.assign(usage, { at: instance.at, status: instance.status, model: instance.model });
  }
}

/**
 * @param {AgentSummary} agent
 * @param {number} now
 * @param {number | undefined} dismissedAt
 * @returns {AgentStatus}
 */
function agentStatus({ row, usage, task, lastEvent, at }, now, dismissedAt) {
  const isDismissed = dismissedAt !== undefined && dismissedAt >= at;
  if (now - at < DAY_MS && !isDismissed) {
    const taskFailed = isFailure(task?.status) && (task?.updated_at || 0) >= at - 1000;
    if (row.status === 'error' || usage?.status === 'error' || taskFailed) return 'error';
    if (task?.status === 'waiting') return 'waiting';
  }
  if (row.status === 'gone') return 'idle';
  const isRecent = (/** @type {number} */ time) => now - time < RUNNING_TIMEOUT_MS;
  const isWorking =
    row.status === 'running' ||
    (usage?.status === 'running' && isRecent(usage.at)) ||
    (task?.status === 'running' && (isRecent(task.updated_at) || lastEvent?.stream_type === 'tool_use'));
  return isWorking ? 'working' : 'idle';
}

/** Returns the last task of each agent. */
function lastTasks() {
  const tasks = new Map();
  for (const task of state.tasks.values()) {
    if (!(tasks.get(task.agent_id)?.updated_at > task.updated_at)) tasks.set(task.agent_id, task);
  }
  return tasks;
}

/** Returns the newest question of each agent that the person has not answered. */
function openQuestions() {
  const questions = [...pendingMail().filter(expectsReply), ...pendingQuestions()];
  questions.sort((a, b) => a.created_at - b.created_at);
  return new Map(questions.map(question => [question.from_agent, question]));
}

/**
 * Returns a summary of each agent, sorted by id.
 * @returns {AgentSummary[]}
 */
export function summarizeAgents() {
  const now = Date.now();
  /** @type {Map<string, AgentSummary>} */
  const summaries = new Map();
  for (const row of state.agents.values()) {
    if (row.id !== HUMAN) summaries.set(row.id, { row, at: row.last_active_at, status: 'idle' });
  }
  for (const instance of state.telemetry.values()) {
    const id = instance.agent_id || instance.instance_id;
    const summary = summaries.get(id) || { row: { id }, at: 0, status: 'idle' };
    addUsage((summary.usage ||= { at: 0 }), instance, now);
    summary.at = Math.max(summary.at, instance.at);
    summaries.set(id, summary);
  }
  const tasks = lastTasks();
  const questions = openQuestions();
  const dismissed = loadSetting('hushed') || {};
  for (const [id, summary] of summaries) {
    summary.task = tasks.get(id);
    summary.lastEvent = state.lastEvents.get(id);
    summary.status = agentStatus(summary, now, dismissed[id]);
    summary.wait = agentWait(summary, questions.get(id));
    if (summary.status === 'idle') summary.lastEvent = undefined;
    summary.unread = state.mailboxes.get(id)?.unread;
  }
  return [...summaries.values()].sort((a, b) => (a.row.id < b.row.id ? -1 : 1));
}

/**
 * Records that the person has seen that this agent failed or waits.
 * @param {AgentSummary} agent
 */
export function dismissAgent(agent) {
  saveSetting('hushed', { ...loadSetting('hushed'), [agent.row.id]: agent.at });
  invalidate('all');
}
