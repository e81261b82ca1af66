// Threads: the list, most recent first, with unread counts; the messages of one thread with their
// numbers, each of which links to its message; a form to write to it. The numbers come from the
// database: 1, 2, 3 …, without gaps.

import { element, setText, setHidden, setTextOrHide, setAttribute } from '../dom.js';
import { TimelineView } from '../timeline_view.js';
import { state, throttledList, threadCount, unreadCount, markThreadRead, invalidate } from '../store.js';
import {
  openTimeline,
  loadTimeline,
  loadOlder,
  loadNewer,
  returnToLatest,
  loadMoreItems,
  postMessage,
  setThreadStatus,
  confirmRecipient,
  showNotice
} from '../sync.js';
import {
  TwoLineList,
  SplitView,
  EmptyState,
  Initials,
  setInitials,
  setAuthor,
  Tag,
  setTag,
  Field,
  Select,
  handleSubmit
} from '../components.js';
import { authorOf, agentAuthor, displayName } from '../authors.js';
import { formatTime, formatDateTimeOrEmpty, formatCount, pluralize } from '../format.js';
import { routeTo, routeToRow } from '../routes.js';
import { oneLine, safeText } from '../safe_text.js';
import { showRendered, showPlainText } from '../rendered_text.js';

/** Messages of one sender closer together than this share one header. */
const SAME_GROUP_MS = 120000;
const threadsByActivity = () => [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at);
const threadTitle = thread => oneLine(thread.title, 100) || safeText(thread.id, 100);

const createMessage = () =>
  element(
    'div.message',
    element('a.gutter'),
    Initials(),
    element(
      'div.message-content',
      element('p.message-header', element('b'), element('span.recipient'), Tag(), element('time')),
      element('strong'),
      element('div.text', { dir: 'auto' })
    )
  );

function continuesGroup(message, previous) {
  return (
    previous &&
    previous.from_id === message.from_id &&
    authorOf(previous).label === authorOf(message).label &&
    previous.kind === message.kind &&
    previous.to_id === message.to_id &&
    !message.subject &&
    message.created_at - previous.created_at < SAME_GROUP_MS
  );
}

function recipientLabel(message) {
  if (message.to_id) return '→ ' + displayName(message.to_id);
  return message.to_type === 'broadcast' ? '→ everyone' : '';
}

function fillMessage(node, { event: message }, previousRow) {
  const [number, initials, content] = node.children;
  const [header, subject, text] = content.children;
  const [sender, recipient, tag, time] = header.children;
  const isContinued = continuesGroup(message, previousRow?.event);
  setAttribute(node, 'data-joined', isContinued);
  setHidden(header, isContinued);
  setHidden(subject, !message.subject);
  setText(number, String(message.message_seq));
  setAttribute(number, 'href', routeToRow(message));
  setInitials(initials, authorOf(message));
  setAuthor(sender, authorOf(message));
  setText(recipient, recipientLabel(message));
  setTag(tag, message.kind === 'status' ? '' : message.kind);
  setText(time, formatTime(message.created_at));
  time.title = formatDateTimeOrEmpty(message.created_at);
  setText(subject, safeText(message.subject, 300));
  if (message.deleted_at) showPlainText(text, 'This message was deleted.');
  else showRendered(text, { kind: 'message', id: message.id, field: 'content', text: message.content });
}

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
    tag: thread.status === 'active' ? '' : thread.status,
    snippet: (unread ? formatCount(unread) + ' new · ' : '') + snippet,
    time: thread.updated_at,
    isNew: unread
  };
}

export default function threads() {
  let id;
  let timeline;
  /** The message_seq of the route, until it is shown; 0 if none. */
  let wantedSeq = 0;
  const drafts = new Map();
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

  const title = element('h2', { tabindex: -1 });
  const tag = Tag();
  const facts = element('p.facts');
  const hint = element('p.hint');
  const statusSelect = Select(['active', 'paused', 'resolved', 'archived']);
  const header = element(
    'header.view-header',
    element('a.back', { href: '#/threads' }, '← Threads'),
    title,
    tag,
    facts,
    Field('Status', statusSelect)
  );
  const messages = new TimelineView({
    label: 'Messages',
    ariaLive: 'polite',
    createRow: createMessage,
    fillRow: fillMessage,
    loadOlder,
    loadNewer,
    loadLatest: loadTimeline
  });

  const input = element('textarea', {
    required: true,
    placeholder: 'Message as yourself (Ctrl+Enter to send)',
    'aria-label': 'Message'
  });
  const kindSelect = Select(['directive', 'question', 'proposal', 'status', 'result']);
  const recipientInput = element('input', { placeholder: 'everyone', autocomplete: 'off', list: 'agents' });
  const alert = element('p.form-error', { role: 'alert' });
  const submitButton = element('button.primary', 'Send');
  const form = element(
    'form.compose',
    input,
    element('div.toolbar', Field('Kind', kindSelect), Field('To', recipientInput), alert, submitButton)
  );
  const root = SplitView(
    'threads',
    [element('header.view-header', element('h1', 'Threads'), summary), empty, list.root],
    [header, hint, messages.root, form]
  );

  handleSubmit({
    form,
    submitButton,
    alert,
    verb: 'send',
    async submit() {
      const threadId = id;
      const recipient = recipientInput.value.trim();
      confirmRecipient(recipient);
      await postMessage(threadId, { content: input.value, kind: kindSelect.value, to_id: recipient || undefined });
      drafts.delete(threadId);
      if (threadId === id) {
        input.value = '';
        messages.followLatest();
      }
    }
  });
  statusSelect.onchange = () =>
    setThreadStatus(id, statusSelect.value).catch(error => {
      showNotice('Couldn’t change the status: ' + error.message);
      invalidate('all');
    });

  function hintText(count) {
    if (!id) return count ? 'Select a thread to read it.' : '';
    if (timeline.error) return timeline.error;
    if (timeline.loading) return 'Loading…';
    return timeline.rows.length ? '' : 'No messages yet. The first message creates the thread.';
  }

  function summaryText() {
    const count = threadCount();
    if (!count) return '';
    return count + (count === 1 ? ' thread' : ' threads, most recent first');
  }

  return {
    root,
    get title() {
      return id ? threadTitle(state.threads.get(id) || { id }) : 'Threads';
    },
    keys: { r: () => id && input.focus(), f: () => messages.followLatest() },
    route([threadId, seq]) {
      drafts.set(id, input.value);
      id = threadId;
      wantedSeq = +seq || 0;
      input.value = drafts.get(id) || '';
      setText(alert, '');
      if (!wantedSeq) returnToLatest('threads', id);
      setAttribute(root, 'data-detail', id);
    },
    render(topics) {
      if (topics.has('all')) timeline = id && openTimeline('threads', id);
      const items = sortedThreads(topics, list.isInUse());
      list.render(items, id ?? null);
      empty.show(state.loaded && !items.length);
      setHidden(list.root, !items.length);
      setText(summary, summaryText());
      for (const node of [header, messages.root, form]) setHidden(node, !id);
      setTextOrHide(hint, hintText(items.length));
      if (!id) return;
      const thread = state.threads.get(id);
      setText(title, threadTitle(thread || { id }));
      setTag(tag, thread && thread.status !== 'active' ? thread.status : '');
      const isChoosing = statusSelect === document.activeElement && !topics.has('all');
      if (!isChoosing) statusSelect.value = thread?.status || 'active';
      setHidden(statusSelect.parentNode, !thread);
      const idLabel = thread?.title ? safeText(id, 60) + ' · ' : '';
      setText(facts, thread ? idLabel + pluralize(thread.last_seq, 'message') : '');
      messages.render(timeline);
      if (wantedSeq && !timeline.busy && !timeline.loading && timeline.rows.length) {
        if (messages.selectPosition(wantedSeq)) wantedSeq = 0;
        else loadTimeline(timeline, wantedSeq + 1);
      }
      if (thread && messages.following && !document.hidden) markThreadRead(id, thread.last_seq);
    }
  };
}
