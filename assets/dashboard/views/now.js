// Now: what needs the person, which agents work and which are idle, the tasks finished today, and
// a feed of all events. Rendered four times a second at most. Nothing moves while the pointer is on
// the board, and a card shows the same request until it is removed, so that a click cannot hit another request.

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../dom.js';
import { ListView } from '../list_view.js';
import {
  state,
  summarizeAgents,
  needsAttention,
  dismissAgent,
  invalidate,
  renderLater,
  taskCount,
  TOTALS
} from '../store.js';
import {
  EmptyState,
  Initials,
  setInitials,
  Tag,
  setTag,
  setTone,
  setTime,
  Item,
  setItem,
  updateChildren,
  button,
  Sparkline,
  mailTag
} from '../components.js';
import { authorOf, agentAuthor, agentName, displayName } from '../authors.js';
import { ReplyForm } from '../reply_form.js';
import { WakeNote } from '../wake_note.js';
import { formatCount, formatMoney, formatClock, startOfDay } from '../format.js';
import { routeTo, routeToRow, routeToNewMail } from '../routes.js';
import { oneLine, toolSummary, safeText, folderName } from '../safe_text.js';

const MAX_CARDS = 12;
const MAX_LINES = 24;
const MAX_EXPANDED_LINES = 500;
const MAX_REQUESTS = 5;
/** A card that was just added or moved ignores clicks for this long. */
const IGNORE_CLICKS_MS = 500;
/** The board does not reorder for this long after the pointer moved on it. */
const IN_USE_MS = 2500;
const RENDER_INTERVAL_MS = 240;
const OPEN_REQUEST = '.request:has(.reply-form:not([hidden]))';
const PRIORITY_ORDER = { urgent: 2, action: 1 };

const EVENT_LABELS = { text: 'writing' };
const eventLabel = event => event.tool_name || EVENT_LABELS[event.stream_type] || event.stream_type;
const eventSummary = event =>
  event.stream_type === 'tool_use'
    ? toolSummary(event.tool_input)
    : oneLine(event.error_msg || event.text || event.tool_output || event.directive || event.status);

// ---- agents ----

const agentRoute = agent => (agent.task ? routeTo('tasks', agent.task.task_id) : routeTo('inbox', agent.row.id));
const agentLabel = agent => agentName(agent.row.label || agent.row.id);
function setUnreadLink(link, agent) {
  setHidden(link, !agent.unread);
  setText(link, agent.unread + ' unread');
  setAttribute(link, 'href', routeTo('inbox', agent.row.id));
}

/** Returns the last event if it shows what the agent does now. */
function currentStep({ lastEvent }) {
  if (!lastEvent) return null;
  const saysWhat = !/^turn_|^status/.test(lastEvent.stream_type) || lastEvent.text;
  return saysWhat ? lastEvent : null;
}

function AgentCard() {
  const initials = Initials();
  const name = element('a');
  const model = element('span.secondary');
  const tag = Tag();
  const tool = element('b');
  const snippet = element('span.snippet');
  const duration = element('span.duration');
  const step = element('p.current-step', tool, snippet, duration);
  const totals = ['turns', 'in', 'out', 'cost'].map(label => element('div', element('dt', label), element('dd')));
  const sparkline = Sparkline();
  const wakeNote = WakeNote();
  const workspace = element('span.workspace');
  const unreadLink = element('a.mail');
  const messageLink = element('a', 'Message');
  const dismissButton = button('Dismiss', () => dismissAgent(root.agent), 'button.link-button');
  const time = element('time');
  const root = element(
    'article.card',
    element('header', initials, element('h3', name), model, tag),
    step,
    element('div.usage', element('dl.totals', ...totals), sparkline),
    wakeNote.root,
    element('footer', workspace, unreadLink, messageLink, dismissButton, time)
  );
  root.set = agent => {
    const { row, usage, task } = agent;
    const activity = state.activity.get(row.id);
    const event = currentStep(agent);
    root.agent = agent;
    root.agentId = row.id;
    setInitials(initials, agentAuthor(row.id));
    setText(name, agentLabel(agent));
    setAttribute(name, 'href', agentRoute(agent));
    setTag(tag, agent.status);
    setText(model, oneLine(usage?.model, 30));
    setTone(root, agent.status);
    const summary = event ? eventSummary(event) : oneLine(task?.directive);
    setTextOrHide(tool, event ? oneLine(eventLabel(event), 30) : '');
    setText(snippet, summary);
    setHidden(step, !summary && !event);
    setText(duration, event ? formatClock((Date.now() - event.created_at) / 1e3) : '');
    totals.forEach((total, i) => {
      const value = usage?.[TOTALS[i]];
      const format = TOTALS[i] === 'cost' ? formatMoney : formatCount;
      setText(total.lastChild, value ? format(value) : '–');
    });
    setAttribute(sparkline, 'hidden', activity?.some(Boolean) ? null : '');
    sparkline.set(activity || []);
    setText(workspace, folderName(row.workspace || task?.workspace));
    workspace.title = safeText(row.workspace, 300);
    wakeNote.set(row.id, agent.status === 'error');
    setUnreadLink(unreadLink, agent);
    setAttribute(messageLink, 'href', routeToNewMail(row.id));
    setHidden(dismissButton, !/error|waiting/.test(agent.status));
    setTime(time, agent.at);
  };
  return root;
}

function AgentLine() {
  const item = Item();
  const unreadLink = element('a.mail');
  const messageLink = element('a', 'Message');
  const wakeNote = WakeNote();
  const root = element('div.agent-line', item, unreadLink, messageLink, wakeNote.root);
  root.set = agent => {
    const { row, usage, task, lastEvent } = agent;
    const hasEnded = row.status === 'gone' && 'ended';
    const idleFacts = [hasEnded, folderName(row.workspace), usage && formatMoney(usage.cost)].filter(Boolean).join(' · ');
    const workSummary = lastEvent ? eventSummary(lastEvent) : oneLine(task?.directive);
    root.agentId = row.id;
    setItem(item, {
      href: agentRoute(agent),
      author: agentAuthor(row.id),
      title: agentLabel(agent),
      tag: '',
      snippet: agent.status === 'idle' ? idleFacts : workSummary,
      time: agent.at
    });
    setUnreadLink(unreadLink, agent);
    setAttribute(messageLink, 'href', routeToNewMail(row.id));
    wakeNote.set(row.id, agent.status === 'idle');
  };
  return root;
}

// ---- requests: mail and questions that wait for the person ----

function RequestCard() {
  const header = Item();
  const body = element('p.text');
  const outcome = element('p.text secondary', { hidden: true });
  const replyForm = ReplyForm();
  const root = element('article.request', header, body, outcome, replyForm.root);
  root.set = mail => {
    const text = safeText(mail.payload, 600)
      .replace(/\n\s*\n/g, '\n')
      .trim();
    setItem(header, {
      href: routeToRow(mail),
      author: authorOf(mail),
      title: authorOf(mail).label,
      tag: mailTag(mail),
      snippet: oneLine(mail.title || mail.payload),
      time: mail.created_at
    });
    setTextOrHide(body, oneLine(text, 600) === oneLine(mail.title, 600) ? '' : text);
    replyForm.set(mail);
  };
  /** Shows that the request is no longer pending: without buttons, and the focus moves to the next card. */
  root.close = () => {
    const hadFocus = root.contains(document.activeElement);
    setHidden(replyForm.root, true);
    setTextOrHide(outcome, replyForm.lastReply || 'No longer pending.');
    if (hadFocus) (root.closest('ul').querySelector(OPEN_REQUEST + ' a') || header).focus();
  };
  return root;
}

/**
 * Updates the list of request cards. While the pointer or the focus is in the list, cards keep their place and new
 * ones are added below; otherwise they are sorted like `requests`.
 */
function updateRequests(list, requests) {
  const isHovered = list.matches(':hover');
  const isInUse = isHovered || list.contains(document.activeElement);
  const oldItems = [...list.children];
  const itemsById = new Map(oldItems.map(item => [item.mailId, item]));
  const requestsById = new Map(requests.map(mail => [mail.id, mail]));
  const itemOf = mail => {
    const item = itemsById.get(mail.id) || element('li', RequestCard());
    item.mailId = mail.id;
    return item;
  };
  const shown = requests.slice(0, MAX_REQUESTS);
  let items;
  if (isInUse) {
    const kept = oldItems.filter(
      item => requestsById.has(item.mailId) || isHovered || item.contains(document.activeElement)
    );
    const added = shown.filter(mail => !itemsById.has(mail.id));
    items = [...kept, ...added.slice(0, Math.max(0, 2 * MAX_REQUESTS - oldItems.length)).map(itemOf)];
  } else {
    items = shown.map(itemOf);
  }
  for (const item of oldItems) if (!items.includes(item)) item.remove();
  items.forEach((item, i) => {
    if (list.children[i] !== item) list.insertBefore(item, list.children[i] || null);
    const card = item.firstChild;
    const mail = requestsById.get(item.mailId);
    if (mail) card.set(mail);
    else card.close();
    if (oldItems[i] === item) return;
    setAttribute(item, 'data-new', true);
    clearTimeout(item.timer);
    item.timer = setTimeout(() => setAttribute(item, 'data-new', null), IGNORE_CLICKS_MS);
  });
}

// ---- feed ----

/** Per type of row: { author, where, text, tone }. */
const FEED_ENTRIES = {
  message: row => ({ author: authorOf(row), where: row.thread_id, text: row.subject || row.content, tone: row.kind }),
  mail: row => ({
    author: authorOf(row),
    where: displayName(row.to_inbox),
    text: row.title || row.payload,
    tone: 'mail'
  }),
  task: row => ({
    author: agentAuthor(row.agent_id || row.task_id),
    where: eventLabel(row),
    text: eventSummary(row),
    tone: row.stream_type
  })
};

const Feed = () =>
  new ListView({
    label: 'Activity, newest first',
    rowHeight: 30,
    keyOf: entry => entry.key,
    createRow: Item,
    fillRow(link, entry) {
      const { author, where, text, tone } = FEED_ENTRIES[entry.type](entry.row);
      setItem(link, {
        href: routeToRow(entry.row),
        author,
        title: author.label,
        tag: '',
        snippet: [oneLine(where, 40), oneLine(text, 120)].filter(Boolean).join(': '),
        time: entry.time
      });
      setTone(link, tone);
    }
  });

export default function now() {
  const facts = element('p.facts');
  const requestList = element('ul.requests');
  const troubledCards = element('ul.cards');
  const moreLink = element('a.more', { href: '#/inbox/human?show=unread' });
  const attentionSection = element(
    'section.attention',
    { 'aria-label': 'Needs your attention' },
    element('h2', 'Needs your attention'),
    requestList,
    troubledCards,
    moreLink
  );

  let isExpanded = false;
  const MoreButton = () =>
    button(
      '',
      () => {
        isExpanded = true;
        invalidate('all');
      },
      'button.link-button'
    );
  const workingCards = element('ul.cards');
  const workingLines = element('ul.compact-list');
  const moreWorking = MoreButton();
  const workingSection = element('section', element('h2', 'Working'), workingCards, workingLines, moreWorking);
  const idleLines = element('ul.compact-list');
  const moreIdle = MoreButton();
  const idleSection = element('section', element('h2', 'Idle'), idleLines, moreIdle);

  const finishedList = element('ul.compact-list');
  const finishedSummary = element('summary');
  const finishedSection = element('details.finished', finishedSummary, finishedList);
  finishedSection.ontoggle = () => invalidate('all');

  const empty = EmptyState(
    'No agent activity yet',
    'Write one row and it appears here.',
    'demo',
    'run',
    'init',
    'sqlite3'
  );
  const feed = Feed();
  const feedHint = element('p.hint', 'No activity yet.');
  const board = element(
    'div.board',
    element('header.view-header', element('h1', 'Now'), facts),
    attentionSection,
    workingSection,
    idleSection,
    finishedSection,
    empty
  );
  const root = element(
    'div.now',
    board,
    element('section.feed', { 'aria-label': 'Activity' }, element('h2', 'Activity'), feedHint, feed.root)
  );

  let renderedAt = 0;
  let pointerMovedAt = -Infinity;
  let groups = new Map();
  board.onpointermove = () => {
    pointerMovedAt = performance.now();
  };

  /** Sets the group each agent is shown in: its status, or its last group while the board is in use. */
  function assignGroups(agents) {
    const isInUse = performance.now() - pointerMovedAt < IN_USE_MS || board.contains(document.activeElement);
    for (const agent of agents) agent.group = (isInUse && groups.get(agent.row.id)) || agent.status;
    groups = new Map(agents.map(agent => [agent.row.id, agent.group]));
  }

  const setComponent = (component, agent) => component.set(agent);
  function updateLines(list, moreButton, agents) {
    const max = isExpanded ? MAX_EXPANDED_LINES : MAX_LINES;
    updateChildren(list, agents.slice(0, max), AgentLine, setComponent);
    setTextOrHide(moreButton, agents.length > max ? `Show ${agents.length - max} more` : '');
  }

  function renderFinished() {
    const midnight = startOfDay();
    const isFinished = task => task.status === 'completed' && task.updated_at >= midnight;
    const count = taskCount('completed_since', isFinished);
    const finished = [...state.tasks.values()].filter(isFinished).sort((a, b) => b.updated_at - a.updated_at);
    const shown = finishedSection.open ? finished.slice(0, MAX_LINES) : [];
    updateChildren(finishedList, shown, Item, (item, task) =>
      setItem(item, {
        href: routeTo('tasks', task.task_id),
        author: agentAuthor(task.agent_id || task.task_id),
        title: oneLine(task.directive) || safeText(task.task_id, 80),
        tag: 'completed',
        snippet: agentName(task.agent_id) + (task.cost ? ' · ' + formatMoney(task.cost) : ''),
        time: task.updated_at
      })
    );
    setText(finishedSummary, `Finished today (${count})`);
    setHidden(finishedSection, !count);
  }

  function renderAttention(attention, troubled) {
    const priority = mail => PRIORITY_ORDER[mail.priority] || 0;
    const requests = attention.requests.sort((a, b) => priority(b) - priority(a) || a.created_at - b.created_at);
    updateRequests(requestList, requests);
    updateChildren(troubledCards, troubled.slice(0, MAX_CARDS), AgentCard, setComponent);
    const hiddenCount = attention.requestCount - MAX_REQUESTS;
    setTextOrHide(moreLink, hiddenCount > 0 ? `${hiddenCount} more in your inbox` : '');
    setHidden(attentionSection, !requestList.firstChild && !troubled.length);
  }

  function renderBoard() {
    const agents = summarizeAgents();
    assignGroups(agents);
    const inGroup = name => agents.filter(agent => agent.group === name);
    const working = inGroup('working');
    const idle = inGroup('idle');
    renderAttention(needsAttention(agents), [...inGroup('waiting'), ...inGroup('error')]);
    updateChildren(workingCards, working.slice(0, MAX_CARDS), AgentCard, setComponent);
    updateLines(workingLines, moreWorking, working.slice(MAX_CARDS));
    updateLines(idleLines, moreIdle, idle);
    setHidden(workingSection, !working.length);
    setHidden(idleSection, !idle.length);
    renderFinished();
    const cost = state.costToday != null ? ` · ${formatMoney(state.costToday)} today` : '';
    setText(facts, agents.length ? `${working.length} of ${agents.length} working` + cost : '');
    empty.show(state.loaded && !(agents.length || state.feed.length || state.threads.size));
  }

  const focusedIn = selector => document.activeElement.closest(selector);
  const currentRequest = () => focusedIn(OPEN_REQUEST) || requestList.querySelector(OPEN_REQUEST);

  return {
    root,
    title: '',
    keys: {
      // The last button of a reply form marks the message as read.
      a: () => currentRequest()?.querySelector('.reply-form > button:last-of-type').click(),
      r: () => currentRequest()?.querySelector('input').focus(),
      m() {
        location.hash = routeToNewMail(focusedIn('.card')?.agentId || focusedIn('.agent-line')?.agentId || '');
      }
    },
    render(topics) {
      if (performance.now() - renderedAt > RENDER_INTERVAL_MS || topics.has('all')) {
        renderedAt = performance.now();
        renderBoard();
      } else {
        renderLater();
      }
      setHidden(feedHint, state.feed.length);
      const isReading = feed.isInUse() && feed.root.scrollTop;
      feed.render(isReading ? feed.items : state.feed);
    }
  };
}
