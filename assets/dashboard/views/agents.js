// Agents: one agent with what it does, its mail, its tasks and what it has used; without a name, the list of all.

/** @import { AgentSummary, Topics, View } from '../types.d.ts' */

import { element, setHidden } from '../dom.js';
import { state } from '../store.js';
import { summarizeAgents } from '../store/agents.js';
import { renderLater } from '../store/schedule.js';
import { EmptyState } from '../components/commands.js';
import { ItemOf, Repeated } from '../components/lists.js';
import { agentAuthor, agentName } from '../authors.js';
import { routeToAgent } from '../routes.js';
import { folderName } from '../safe_text.js';
import { AgentPage } from './agents/page.js';

const MAX_LISTED = 500;
const RENDER_INTERVAL_MS = 240;

/** All agents, the last active first. */
function AgentList() {
  const list = Repeated(
    element('ul.compact-list'),
    ItemOf((/** @type {AgentSummary} */ { row, status, at }) => ({
      href: routeToAgent(row.id),
      author: agentAuthor(row.id),
      title: agentName(row.label || row.id),
      tag: status,
      snippet: folderName(row.workspace),
      time: at
    }))
  );
  const empty = EmptyState('No agents yet', 'An agent appears with its first row.', 'demo', 'run', 'init', 'sqlite3');
  const root = element('section.agent-list', element('header.view-header', element('h1', 'Agents')), list.root, empty.root);
  return {
    root,
    /** @param {AgentSummary[]} agents */
    set(agents) {
      const byActivity = agents.toSorted((a, b) => b.at - a.at);
      list.set(byActivity.slice(0, MAX_LISTED));
      empty.show(state.loaded && !agents.length);
    }
  };
}

/** @returns {View} */
export default function AgentsView() {
  let id = '';
  let renderedAt = 0;
  const list = AgentList();
  const page = AgentPage();
  return {
    root: element('div.agents', list.root, page.root),
    get title() {
      return id ? agentName(id) : 'Agents';
    },
    keys: {
      m: () => id && page.focusMessage()
    },
    route(parts) {
      [id = ''] = parts;
      if (id) page.open(id);
    },
    /** @param {Topics} topics */
    render(topics) {
      if (performance.now() - renderedAt < RENDER_INTERVAL_MS && !topics.has('all')) return renderLater();
      renderedAt = performance.now();
      const agents = summarizeAgents();
      setHidden(list.root, !!id);
      setHidden(page.root, !id);
      if (id) page.set(agents.find(agent => agent.row.id === id), agents);
      else list.set(agents);
    }
  };
}
