// The agents on Now: a card for one that works or needs the person, a line for one that is idle.

/** @import { AgentSummary, TaskEvent } from '../../types.d.ts' */

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../../dom.js';
import { state } from '../../store.js';
import { dismissAgent, isTroubled } from '../../store/agents.js';
import { isStepOfTurn, shownStatus, statusNote } from '../../store/tasks.js';
import { button } from '../../components/forms.js';
import { Age, Initials, setTone, Sparkline, Tag } from '../../components/labels.js';
import { Item } from '../../components/lists.js';
import { openMessageDialog } from '../../components/message_form.js';
import { Place } from '../../components/place.js';
import { WakeNote } from '../../components/wake_note.js';
import { agentAuthor, agentName } from '../../authors.js';
import { formatClock, formatCount, formatMoney, formatWait } from '../../format.js';
import { routeTo, routeToAgent, routeToNewMail } from '../../routes.js';
import { folderName, oneLine } from '../../safe_text.js';
import { stepLabel, stepSummary, taskTitle } from '../../steps.js';

/** @param {AgentSummary} agent */
const agentLabel = agent => agentName(agent.row.label || agent.row.id);

/**
 * Returns the last event if it shows what the agent does now.
 * @param {AgentSummary} agent
 * @returns {TaskEvent | undefined}
 */
function currentStep({ lastEvent, wait, status }) {
  if (status === 'waiting') return wait?.call;
  return lastEvent && (!isStepOfTurn(lastEvent) || lastEvent.text) ? lastEvent : undefined;
}

/**
 * Returns 'gone' if the process of an agent has ended, 'stale' if its task runs without steps, or an empty string.
 * @param {AgentSummary} agent
 */
function agentCondition({ row, task }) {
  if (row.status === 'gone') return 'gone';
  return task && shownStatus(task) === 'stale' ? 'stale' : '';
}

/** The links to the mail of an agent: to what it has not read, and to the form that writes to it. */
function MailLinks() {
  const unread = element('a.mail');
  let id = '';
  const message = element('a', { onclick: openDialog }, 'Message');
  /** @param {MouseEvent} event */
  function openDialog(event) {
    // With a modifier, the link opens another tab.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openMessageDialog(id);
  }
  return {
    nodes: [unread, message],
    /** @param {AgentSummary} agent */
    set(agent) {
      id = agent.row.id;
      setHidden(unread, !agent.unread);
      setText(unread, agent.unread + ' unread');
      setAttribute(unread, 'href', routeTo('inbox', agent.row.id));
      setAttribute(message, 'href', routeToNewMail(agent.row.id));
    }
  };
}

/** The last step of an agent, or its task, and how long it takes: a link to the task. */
export function CurrentStep() {
  const tool = element('b');
  const snippet = element('span.snippet');
  const duration = element('span.duration');
  const root = element('a.current-step', tool, snippet, duration);
  return {
    root,
    /** @param {AgentSummary} agent */
    set(agent) {
      const event = currentStep(agent);
      // Of an agent that waits, the task is shown with what it waits for.
      const directive = agent.status === 'waiting' ? '' : oneLine(agent.task?.directive);
      const summary = event ? stepSummary(event) : directive;
      setAttribute(root, 'href', agent.task ? routeTo('tasks', agent.task.task_id) : null);
      setTextOrHide(tool, event ? oneLine(stepLabel(event), 30) : '');
      setText(snippet, summary);
      setHidden(root, !summary && !event);
      setText(duration, event ? formatClock((Date.now() - event.created_at) / 1e3) : '');
    }
  };
}

/** What an agent waits for and how long, and the task that this blocks. */
function Wait() {
  const reason = element('b');
  const link = element('a');
  const blocked = element('span', 'Blocks ', link);
  const root = element('p.wait', reason, blocked);
  return {
    root,
    /** @param {AgentSummary} agent */
    set({ wait, task, status }) {
      setHidden(root, !wait);
      if (!wait) return;
      setText(reason, `Waits ${formatWait(wait.since)} for ${wait.reason}`);
      const isBlocked = status === 'waiting' && !!task?.directive;
      setHidden(blocked, !isBlocked);
      if (!task || !isBlocked) return;
      setText(link, taskTitle(task));
      setAttribute(link, 'href', routeTo('tasks', task.task_id));
    }
  };
}

/**
 * @typedef {object} Figure
 * @property {string} label
 * @property {'turns' | 'tokens_in' | 'tokens_out' | 'cost'} field
 * @property {(value: number) => string} format
 */
/** @type {Figure[]} */
const FIGURES = [
  { label: 'turns', field: 'turns', format: formatCount },
  { label: 'in', field: 'tokens_in', format: formatCount },
  { label: 'out', field: 'tokens_out', format: formatCount },
  { label: 'cost', field: 'cost', format: formatMoney }
];

/** What an agent has used in the last 24 hours. */
function UsageFigures() {
  const values = FIGURES.map(() => element('dd'));
  const root = element('dl.totals', ...FIGURES.map(({ label }, i) => element('div', element('dt', label), values[i])));
  return {
    root,
    /** @param {AgentSummary['usage']} usage */
    set(usage) {
      FIGURES.forEach(({ field, format }, i) => {
        const value = usage?.[field];
        setText(values[i], value ? format(value) : '–');
      });
    }
  };
}

export function AgentCard() {
  /** @type {AgentSummary} */
  let agent;
  const initials = Initials();
  const name = element('a');
  const model = element('span.secondary');
  const tag = Tag();
  const wait = Wait();
  const step = CurrentStep();
  const figures = UsageFigures();
  const sparkline = Sparkline();
  const wakeNote = WakeNote();
  const place = Place();
  const condition = Tag();
  const mailLinks = MailLinks();
  const dismissButton = button('Dismiss', () => dismissAgent(agent), 'button.link-button');
  const age = Age();
  const root = element(
    'article.card',
    element('header', initials.root, element('h3', name), model, tag.root, place.root),
    wait.root,
    step.root,
    element('div.usage', figures.root, sparkline.root),
    wakeNote.root,
    element('footer', condition.root, ...mailLinks.nodes, dismissButton, age.root)
  );
  return {
    root,
    focus: () => name.focus(),
    /** @param {AgentSummary} newAgent */
    set(newAgent) {
      agent = newAgent;
      const { row, usage, task } = agent;
      initials.set(agentAuthor(row.id));
      setText(name, agentLabel(agent));
      setAttribute(name, 'href', routeToAgent(row.id));
      tag.set(agent.status);
      setText(model, oneLine(usage?.model, 30));
      setTone(root, agent.status);
      wait.set(agent);
      step.set(agent);
      figures.set(usage);
      sparkline.set(state.activity.get(row.id) || []);
      place.set(row.workspace || task?.workspace);
      condition.set(agentCondition(agent), statusNote(agentCondition(agent)));
      wakeNote.set(row.id, agent.status === 'error');
      mailLinks.set(agent);
      setHidden(dismissButton, !isTroubled(agent));
      age.set(agent.at);
    }
  };
}

export function AgentLine() {
  const item = Item();
  const mailLinks = MailLinks();
  const wakeNote = WakeNote();
  const root = element('div.agent-line', item.root, ...mailLinks.nodes, wakeNote.root);
  return {
    root,
    focus: () => item.root.focus(),
    /** @param {AgentSummary} agent */
    set(agent) {
      const { id } = agent.row;
      item.set({
        href: routeToAgent(id),
        author: agentAuthor(id),
        title: agentLabel(agent),
        tag: agentCondition(agent),
        tagNote: statusNote(agentCondition(agent)),
        snippet: agent.status === 'idle' ? idleFacts(agent) : workSummary(agent),
        time: agent.at
      });
      mailLinks.set(agent);
      wakeNote.set(id, agent.status === 'idle');
    }
  };
}

/** @param {AgentSummary} agent */
const idleFacts = ({ row, usage }) =>
  [folderName(row.workspace), usage && formatMoney(usage.cost)].filter(Boolean).join(' · ');

/** @param {AgentSummary} agent */
const workSummary = ({ task, lastEvent, wait }) => {
  if (wait) return 'waits for ' + wait.reason;
  return lastEvent ? stepSummary(lastEvent) : oneLine(task?.directive);
};
