// Threads: the list by activity with what is unread, one conversation with its numbers in
// the margin, and a composer for the person. The numbers are the file's own: 1, 2, 3, none
// missing; each is the link to its message.

import { h, text, hide, attr, Log } from '../dom.js';
import { state, ordering, unread, read, touch } from '../store.js';
import { openLog, loadLog, olderRows, newer, latest, older, say, setThread, known, notice } from '../sync.js';
import { Rows, Split, Empty, Mark, setMark, Tag, setTag, who, field, select, onSend, tell } from '../parts.js';
import { line, safe, hms, full, many, num, url, place } from '../format.js';
import { words } from '../words.js';

const NEAR = 120000;
const build = () => [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at);
const name = t => line(t.title, 100) || safe(t.id, 100);

const make = () =>
  h('div.msg', h('a.gut'), Mark(), h('div.said', h('p.by', h('b'), h('span.to'), Tag(), h('time')), h('strong'), h('div.text', { dir: 'auto' })));
function fill(el, { e }, prev) {
  const [seq, mark, said] = el.children,
    [by, subject, body] = said.children,
    [from, to, tag, time] = by.children,
    p = prev?.e;
  // One head for a run of messages: same sender, same kind, soon after one another.
  const joined = p && p.from_id === e.from_id && p.kind === e.kind && p.to_id === e.to_id && !e.subject && e.created_at - p.created_at < NEAR;
  attr(el, 'data-joined', joined);
  hide(by, joined);
  hide(subject, !e.subject);
  text(seq, String(e.message_seq));
  attr(seq, 'href', place(e));
  setMark(mark, e.from_id);
  text(from, who(e.from_id));
  text(to, e.to_id ? '→ ' + who(e.to_id) : e.to_type === 'broadcast' ? '→ all' : '');
  setTag(tag, e.kind === 'status' ? '' : e.kind);
  text(time, hms(e.created_at));
  time.title = full(e.created_at);
  text(subject, safe(e.subject, 300));
  words(body, e.deleted_at ? 'This message was removed.' : e.content);
}

export default function threads() {
  let id,
    log,
    goal = 0;
  const drafts = new Map(),
    order = ordering('threads', build);
  const list = Rows(
    'Threads, latest first',
    t => t.id,
    t => {
      const p = t.preview,
        n = unread(t);
      return [
        url('threads', t.id),
        p ? p.from_id : t.id,
        name(t),
        t.status === 'active' ? '' : t.status,
        (n ? num(n) + ' new · ' : '') + (p ? who(p.from_id) + ': ' + line(p.subject || p.content) : many(t.last_seq, 'message')),
        t.updated_at,
        n
      ];
    },
    () => older('threads')
  );
  const empty = Empty('No thread yet', 'A message to a thread that does not exist creates it.', 'sqlite3', 'post');
  const sum = h('p.facts'),
    title = h('h2', { tabindex: -1 }),
    tag = Tag(),
    facts = h('p.facts'),
    hint = h('p.hint'),
    status = select('active paused resolved archived');
  const top = h('header.head', h('a.back', { href: '#/threads' }, '← Threads'), title, tag, facts, field('State', status));
  const view = new Log({
    label: 'Messages',
    live: 'polite',
    make,
    fill,
    older: olderRows,
    newer,
    latest: loadLog
  });
  const input = h('textarea', { required: true, placeholder: 'Write as the human. Ctrl + Enter sends.', 'aria-label': 'Message' });
  const kind = select('directive question proposal status result'),
    to = h('input', { placeholder: 'everyone', autocomplete: 'off', list: 'agents' });
  const alert = h('p.wrong', { role: 'alert' }),
    button = h('button.go', 'Send');
  const form = h('form.compose', input, h('div.bar', field('Kind', kind), field('To', to), alert, button));
  const root = Split('threads', [h('header.head', h('h1', 'Threads'), sum), empty, list.root], [top, hint, view.root, form]);

  onSend(form, button, alert, async () => {
    const there = id,
      name = to.value.trim();
    known(name);
    await say(there, { content: input.value, kind: kind.value, to_id: name || undefined });
    drafts.delete(there);
    if (there === id) {
      input.value = '';
      view.tail();
    }
  });
  status.onchange = () =>
    setThread(id, status.value).catch(e => {
      notice('The state was not changed: ' + e.message);
      touch('all');
    });

  return {
    root,
    get title() {
      return id ? name(state.threads.get(id) || { id }) : 'Threads';
    },
    keys: { r: () => id && input.focus(), f: () => view.tail() },
    route([thread, seq]) {
      drafts.set(id, input.value);
      id = thread;
      goal = +seq || 0;
      input.value = drafts.get(id) || '';
      text(alert, '');
      if (!goal) latest('threads', id);
      attr(root, 'data-detail', id);
    },
    paint(dirty) {
      if (dirty.has('all')) log = id && openLog('threads', id);
      const items = order(dirty, list.held()),
        t = state.threads.get(id);
      list.paint(items, id ?? null);
      empty.show(state.loaded && !items.length);
      hide(list.root, !items.length);
      text(sum, items.length ? items.length + (state.older?.threads.next ? '+' : '') + ' by activity' : '');
      for (const e of [top, view.root, form]) hide(e, !id);
      tell(
        hint,
        !id
          ? items.length
            ? 'Choose a thread to read it.'
            : ''
          : log.error || (log.loading ? 'Loading…' : log.rows.length ? '' : 'No message here yet. The first one creates the thread.')
      );
      if (!id) return;
      text(title, name(t || { id }));
      setTag(tag, t && t.status !== 'active' ? t.status : '');
      if (status !== document.activeElement || dirty.has('all')) status.value = t?.status || 'active';
      hide(status.parentNode, !t);
      text(facts, t ? (t.title ? safe(id, 60) + ' · ' : '') + many(t.last_seq, 'message') : '');
      view.paint(log);
      if (goal && !log.busy && !log.loading && log.rows.length) view.seek(goal) ? (goal = 0) : loadLog(log, goal + 1);
      if (t && view.follow && !document.hidden) read(id, t.last_seq);
    }
  };
}
