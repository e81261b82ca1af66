// What needs the person, in this order: what waits for a reply or a permission, agents that failed, other unread mail.

/** @import { AgentSummary, Attention, Blocked, Request } from '../types.d.ts' */

import { summarizeAgents } from './agents.js';
import { pendingMail, pendingMailCount } from './mail.js';
import { pendingQuestions } from './questions.js';
import { expectsReply } from './waits.js';

/**
 * Returns what needs the person, as shown on Now, in the title, the icon and the sidebar.
 * @returns {Attention}
 */
export function needsAttention(agents = summarizeAgents()) {
  const questions = pendingQuestions();
  const mail = pendingMail();
  const mailCount = pendingMailCount();
  const requests = [...mail.filter(expectsReply), ...questions];
  const waiting = agents.filter(agent => agent.status === 'waiting');
  const failed = agents.filter(agent => agent.status === 'error').sort((a, b) => b.at - a.at);
  return {
    blocked: blockedItems(agents, waiting, requests),
    failed,
    otherMail: mail.filter(row => !expectsReply(row)),
    otherMailCount: mailCount + questions.length - requests.length,
    count: mailCount + questions.length + waiting.length + failed.length
  };
}

/**
 * @param {AgentSummary[]} agents
 * @param {AgentSummary[]} waiting
 * @param {Request[]} requests
 * @returns {Blocked[]} newest first
 */
function blockedItems(agents, waiting, requests) {
  const byId = new Map(agents.map(agent => [agent.row.id, agent]));
  return [
    ...requests.map(request => ({
      key: 'request ' + request.id,
      since: request.created_at,
      request,
      sender: byId.get(request.from_agent)
    })),
    ...waiting.map(agent => ({ key: 'agent ' + agent.row.id, since: agent.wait?.since || agent.at, agent }))
  ].sort((a, b) => b.since - a.since);
}
