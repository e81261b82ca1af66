// Threads: the list, most recent first, with unread counts; the messages of one thread with their numbers, each of which
// links to its message; a form to write to it. The numbers come from the database: 1, 2, 3 …, without gaps.

/** @import { ItemContent, Message, Thread, Timeline, Topics, View } from '../types.d.ts' */

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../dom.js';
import { showNotice, state } from '../store.js';
import { markThreadRead, unreadCount } from '../store/read_marks.js';
import { invalidate, throttledList } from '../store/schedule.js';
import { threadCount } from '../store/threads.js';
import { loadMoreItems } from '../sync/lists.js';
import { setThreadStatus } from '../sync/threads.js';
import { loadNewer, loadOlder, loadTimeline, openTimeline, returnToLatest } from '../sync/timelines.js';
import { EmptyState } from '../components/commands.js';
import { Field, Select } from '../components/forms.js';
import { Tag } from '../components/labels.js';
import { SplitView, TwoLineList } from '../components/lists.js';
import { TimelineView } from '../components/timeline_view.js';
import { authorOf, agentAuthor } from '../authors.js';
import { formatCount, pluralize } from '../format.js';
import { routeTo } from '../routes.js';
import { oneLine, safeText } from '../safe_text.js';
import { ComposeForm } from './threads/compose_form.js';
import { MessageRow } from './threads/message_row.js';

const STATUS_OPTIONS = ['active', 'paused', 'resolved', 'archived'];

const threadsByActivity = () => [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at);

/** @param {{ id: string, title?: string }} thread */
const threadTitle = thread => oneLine(thread.title, 100) || safeText(thread.id, 100);

/** @param {Thread | undefined} thread */
const statusWord = thread => (thread && thread.status !== 'active' ? thread.status : '');

/**
 * @param {Thread} thread
 * @returns {ItemContent & { isNew: boolean }}
 */
function describeThread(thread) {
  const { preview } = thread;
  const unread = unreadCount(thread);
  const snippet = preview
    ? authorOf(preview).label + ': ' + oneLine(preview.subject || preview.content)
    : pluralize(thread.last_seq, 'message');
  return {
    href: routeTo('threads', thread.id),
    author: preview ? authorOf(preview) : agentAuthor(thread.id),
    title: threadTitle(thread),
    tag: statusWord(thread),
    snippet: (unread ? formatCount(unread) + ' new · ' : '') + snippet,
    time: thread.updated_at,
    isNew: unread > 0
  };
}

/** The title, the facts and the status of the open thread. */
function ThreadHeader() {
  let id = '';
  const title = element('h2', { tabindex: -1 });
  const tag = Tag();
  const facts = element('p.facts');
  const statusSelect = Select(STATUS_OPTIONS);
  const statusField = Field('Status', statusSelect);
  const root = element(
    'header.view-header',
    element('a.back', { href: '#/threads' }, '← Threads'),
    title,
    tag.root,
    facts,
    statusField
  );
  statusSelect.onchange = () =>
    setThreadStatus(id, statusSelect.value).catch(error => {
      showNotice('Couldn’t change the status: ' + error.message);
      invalidate('all');
    });
  return {
    root,
    /**
     * @param {string} threadId
     * @param {Thread | undefined} thread
     * @param {Topics} topics
     */
    set(threadId, thread, topics) {
      id = threadId;
      setText(title, threadTitle(thread || { id }));
      tag.set(statusWord(thread));
      // Events must not change what the person is choosing.
      const isChoosing = statusSelect === document.activeElement && !topics.has('all');
      if (!isChoosing) statusSelect.value = thread?.status || 'active';
      setHidden(statusField, !thread);
      const idLabel = thread?.title ? safeText(id, 60) + ' · ' : '';
      setText(facts, thread ? idLabel + pluralize(thread.last_seq, 'message') : '');
    }
  };
}

function summaryText() {
  const count = threadCount();
  if (!count) return '';
  return count + (count === 1 ? ' thread' : ' threads, most recent first');
}

/** @returns {View} */
export default function ThreadsView() {
  /** The open thread; empty if none. */
  let id = '';
  /** @type {Timeline<Message> | null} */
  let timeline = null;
  /** The message_seq of the route, until it is shown; 0 if none. */
  let wantedSeq = 0;
  const sortedThreads = throttledList('threads', threadsByActivity);
  const summary = element('p.facts');
  const list = TwoLineList({
    label: 'Threads, most recent first',
    keyOf: thread => thread.id,
    describe: describeThread,
    onNearEnd: () => loadMoreItems('threads')
  });
  const empty = EmptyState(
    'No threads yet',
    'Posting a message to a new thread ID creates the thread.',
    'sqlite3',
    'post'
  );
  const header = ThreadHeader();
  const hint = element('p.hint');
  const messages = new TimelineView({
    label: 'Messages',
    ariaLive: 'polite',
    createRow: MessageRow,
    loadOlder,
    loadNewer,
    loadLatest: loadTimeline
  });
  const form = ComposeForm(() => messages.followLatest());
  const root = SplitView(
    'threads',
    [element('header.view-header', element('h1', 'Threads'), summary), empty.root, list.root],
    [header.root, hint, messages.root, form.root]
  );

  /** @param {number} count number of threads */
  function hintText(count) {
    if (!id || !timeline) return count ? 'Select a thread to read it.' : '';
    if (timeline.error) return timeline.error;
    if (timeline.loading) return 'Loading…';
    return timeline.rows.length ? '' : 'No messages yet. The first message creates the thread.';
  }

  /**
   * @param {Timeline<Message>} openedTimeline
   * @param {Topics} topics
   */
  function renderThread(openedTimeline, topics) {
    const thread = state.threads.get(id);
    header.set(id, thread, topics);
    messages.render(openedTimeline);
    if (wantedSeq && !openedTimeline.busy && !openedTimeline.loading && openedTimeline.rows.length) {
      const row = messages.rowAtPosition(wantedSeq);
      if (row) {
        messages.select(row);
        wantedSeq = 0;
      } else {
        void loadTimeline(openedTimeline, wantedSeq + 1);
      }
    }
    if (thread && messages.following && !document.hidden) markThreadRead(id, thread.last_seq);
  }

  return {
    root,
    get title() {
      return id ? threadTitle(state.threads.get(id) || { id }) : 'Threads';
    },
    keys: { r: () => id && form.focus(), f: () => messages.followLatest() },
    route([threadId = '', seq]) {
      id = threadId;
      wantedSeq = Number(seq) || 0;
      form.open(id);
      if (!wantedSeq) returnToLatest('threads', id);
      setAttribute(root, 'data-detail', id || null);
    },
    render(topics) {
      if (topics.has('all')) timeline = id ? openTimeline('threads', id) : null;
      const items = sortedThreads(topics, list.isInUse());
      list.render(items, id || null);
      empty.show(state.loaded && !items.length);
      setHidden(list.root, !items.length);
      setText(summary, summaryText());
      for (const node of [header.root, messages.root, form.root]) setHidden(node, !id);
      setTextOrHide(hint, hintText(items.length));
      if (id && timeline) renderThread(timeline, topics);
    }
  };
}
