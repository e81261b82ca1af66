// Threads: the list by activity, one conversation with its numbers in the margin, and a
// composer for the person. The numbers are the file's own: 1, 2, 3, none missing.

import { h, text, hide, attr, Log } from '../dom.js';
import { state, ordering } from '../store.js';
import { openThread, olderMessages, olderThreads, say } from '../sync.js';
import { Rows, Split, Empty, Mark, setMark, Tag, setTag, who, field, select, onSend } from '../parts.js';
import { line, safe, clock, full, num } from '../format.js';
import { enc } from '../api.js';

const NEAR = 120000;
const build = () => [...state.threads.values()].sort((a, b) => b.updated_at - a.updated_at);
const many = n => num(n) + (n === 1 ? ' message' : ' messages');
const name = t => line(t.title, 100) || safe(t.id, 100);

const make = () => h('div.msg', h('span.gut'), Mark(), h('div.said', h('p.by', h('b'), h('span.to'), Tag(), h('time')), h('strong'), h('p.text', { dir: 'auto' })));
function fill(el, { e }, prev) {
  const [seq, mark, said] = el.children, [by, subject, body] = said.children, [from, to, tag, time] = by.children, p = prev?.e;
  // One head for a run of messages: same sender, same kind, soon after one another.
  const joined = p && p.from_id === e.from_id && p.kind === e.kind && p.to_id === e.to_id && !e.subject && e.created_at - p.created_at < NEAR;
  attr(el, 'data-joined', joined ? '' : null); attr(el, 'data-mine', e.from_type === 'human' ? '' : null);
  hide(by, joined); hide(subject, !e.subject);
  text(seq, String(e.message_seq)); setMark(mark, e.from_id); text(from, who(e.from_id));
  text(to, e.to_id ? '→ ' + who(e.to_id) : e.to_type === 'broadcast' ? '→ all' : '');
  setTag(tag, e.kind === 'status' ? '' : e.kind);
  text(time, clock(e.created_at)); time.title = full(e.created_at);
  text(subject, safe(e.subject, 300)); text(body, e.deleted_at ? 'This message was removed.' : safe(e.content));
}

export default function threads() {
  let id, log;
  const drafts = new Map(), order = ordering('threads', build);
  const list = Rows('Threads, latest first', t => t.id, t => '#/threads/' + enc(t.id), t => {
    const p = t.preview;
    return [p ? p.from_id : t.id, name(t), t.status === 'active' ? '' : t.status, p ? who(p.from_id) + ': ' + line(p.subject || p.content) : many(t.last_seq), t.updated_at];
  }, olderThreads);
  const empty = Empty('No thread yet', 'A message to a thread that does not exist creates it.', 'sql', 'post');
  const sum = h('p.facts'), title = h('h2'), tag = Tag(), facts = h('p.facts'), hint = h('p.hint');
  const top = h('header.head', h('a.back', { href: '#/threads' }, '← Threads'), title, tag, facts);
  const view = new Log({ label: 'Messages', live: 'polite', make, fill, older: () => olderMessages(log) });
  const words = h('textarea', { required: '', placeholder: 'Write as the human. Ctrl + Enter sends.', 'aria-label': 'Message' });
  const kind = select('directive question proposal status result'), to = h('input', { placeholder: 'everyone', autocomplete: 'off', list: 'agents' });
  const alert = h('p.wrong', { role: 'alert' }), button = h('button.go', 'Send');
  const form = h('form.compose', words, h('div.bar', field('Kind', kind), field('To', to), alert, button));
  const root = Split('threads', [h('header.head', h('h1', 'Threads'), sum), empty, list.root], [top, hint, view.root, form]);

  onSend(form, button, alert, async () => {
    const there = id;
    await say(there, { content: words.value, kind: kind.value, to_id: to.value.trim() || undefined });
    drafts.delete(there);
    if (there === id) { words.value = ''; view.tail(); }
  });

  return {
    root, title: 'Threads',
    route([thread]) {
      drafts.set(id, words.value);
      id = thread;
      words.value = drafts.get(id) || '';
      text(alert, '');
      attr(root, 'data-detail', id);
    },
    paint(dirty) {
      if (dirty.has('all')) log = id && openThread(id);
      const items = order(dirty, list.held()), t = state.threads.get(id);
      list.paint(items, id);
      hide(empty, !state.loaded || items.length);
      hide(list.root, !items.length);
      text(sum, items.length ? items.length + (state.olderThreads?.next ? '+' : '') + ' by activity' : '');
      for (const e of [top, view.root, form]) hide(e, !id);
      text(hint, !id ? (items.length ? 'Choose a thread to read it.' : '') : log.error || (log.rows.length ? '' : log.loading ? 'Loading…' : 'No message here yet. The first one creates the thread.'));
      hide(hint, !hint.textContent);
      if (!id) return;
      text(title, name(t || { id }));
      setTag(tag, t && t.status !== 'active' ? t.status : '');
      text(facts, t ? (t.title ? safe(id, 60) + ' · ' : '') + many(t.last_seq) : '');
      view.paint(log.rows);
    },
  };
}
