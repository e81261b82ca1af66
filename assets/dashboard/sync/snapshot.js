// Loads what the page shows first: a snapshot of the database over HTTP, and the last activity.

/** @import { CommandText, Mail, Page, Status, TaskEvent, Message } from '../types.d.ts' */

import { get } from '../api.js';
import { HUMAN } from '../authors.js';
import { state } from '../store.js';
import { putAgents } from '../store/agents.js';
import { addOlderToFeed } from '../store/feed.js';
import { openMailbox, withPersonalStatus } from '../store/mail.js';
import { loadReadMarks } from '../store/read_marks.js';
import { refresh } from '../store/refresh.js';
import { invalidate } from '../store/schedule.js';
import { isUnfinished, setLastEvent } from '../store/tasks.js';
import { trackQuestion } from '../store/threads.js';
import { newTimeline } from '../store/timeline.js';
import { fillMailbox } from './mail.js';
import * as rows from './rows.js';
import { fetchRows, loadTimeline } from './timelines.js';

const RECENT_MAIL = 20;
const RECENT_THREADS = 10;
const RECENT_MESSAGES = 20;
const RECENT_TASKS = 12;
/** The last step, and the call before it for which a tool may ask for permission. */
const RECENT_STEPS = 2;

/** Loads all lists, and the open timelines again. */
export async function loadSnapshot() {
  /** @type {[Promise<Status>, Promise<Page<CommandText>>]} */
  const fromHub = [get('status'), get('commands')];
  const [status, commands, totals, mail, unreadMail, threads, tasks, mailboxes, agents, telemetry] = await Promise.all([
    ...fromHub,
    rows.fetchTotals(),
    rows.fetchMail(HUMAN),
    rows.fetchMail(HUMAN, { status: 'unread', limit: 1000 }),
    rows.fetchThreads({}),
    rows.fetchTasks({}),
    rows.fetchMailboxes(),
    rows.fetchAgents(),
    rows.fetchTelemetry()
  ]);
  for (const map of [state.threads, state.tasks, state.agents, state.telemetry, state.mailboxes, state.lastEvents, state.lastCalls]) {
    map.clear();
  }
  state.status = status;
  state.totals = totals;
  for (const command of commands.items) state.commands.set(command.name, command);
  loadReadMarks(status.epoch);
  state.lastPages = { threads, tasks };
  rows.LISTS.threads.put(threads);
  rows.LISTS.tasks.put(tasks);
  rows.putMailboxes(mailboxes);
  putAgents(agents.items);
  rows.putTelemetryRows(telemetry);
  refresh.costs();
  // All unread mail to the person is loaded, however old it is.
  const mailbox = openMailbox(HUMAN);
  fillMailbox(mailbox, mail);
  fillMailbox(mailbox, { items: unreadMail.items, next: mailbox.next });
  mailbox.hasMoreUnread = !!unreadMail.next;
  state.timelines.forEach(timeline => void loadTimeline(timeline));
}

/** Loads the last messages, mail and steps, so that Now does not open empty. */
export async function loadRecentActivity() {
  const recentThreads = [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at).slice(0, RECENT_THREADS);
  const activeTasks = [...state.tasks.values()]
    .filter(task => task.agent_id && isUnfinished(task))
    .sort((a, b) => +(b.status === 'waiting') - +(a.status === 'waiting'))
    .slice(0, RECENT_TASKS);
  /** @type {[Page<Mail>, Page<TaskEvent>[], Page<Message>[]]} */
  const [mail, taskPages, threadPages] = await Promise.all([
    get('inbox', { limit: RECENT_MAIL }),
    Promise.all(activeTasks.map(task => fetchRows(newTimeline('tasks', task.task_id), 'before', rows.END, RECENT_STEPS))),
    Promise.all(
      recentThreads.map(thread => fetchRows(newTimeline('threads', thread.id), 'before', rows.END, RECENT_MESSAGES))
    )
  ]);
  taskPages.forEach(({ items }, i) => {
    const { agent_id } = activeTasks[i];
    if (state.lastEvents.has(agent_id)) return;
    for (const event of items) setLastEvent({ ...event, agent_id });
  });
  threadPages.forEach((page, i) => {
    recentThreads[i].preview ||= page.items.at(-1);
    page.items.forEach(trackQuestion);
  });
  addOlderToFeed([
    ...mail.items.map(row => ({ type: /** @type {const} */ ('mail'), row: withPersonalStatus(row) })),
    ...threadPages.flatMap(page => page.items.map(row => ({ type: /** @type {const} */ ('message'), row })))
  ]);
  invalidate('threads');
}
