// Inbox: every mailbox, with the person's own first; one message in full; writing and
// answering as the human. States are shown as the file has them; nothing is marked here.

import { h, text, hide, attr } from '../dom.js';
import { state, ordering, box, letters, waiting } from '../store.js';
import { openBox, olderMail, sendMail } from '../sync.js';
import { Rows, Split, Empty, Mark, setMark, Tag, setTag, who, weight, field, select, onSend } from '../parts.js';
import { line, safe, full } from '../format.js';
import { enc } from '../api.js';

const CHIPS = 40;
const label = n => (n === '*' ? 'Every mailbox' : n === 'all' ? 'To all' : who(n));
const others = () => [...state.boxes.values()].filter(b => b.name !== 'human' && b.name !== '*').sort((x, y) => (y.unread > 0) - (x.unread > 0) || (x.name < y.name ? -1 : 1));

export default function inbox() {
  let name = 'human', id, answered = null;
  const order = ordering('inbox', () => letters(name)), names = ordering('inbox', () => ['human', '*', ...others().slice(0, CHIPS).map(b => b.name)]);
  const boxes = h('ul'), nav = h('nav.boxes', { 'aria-label': 'Mailboxes' }, boxes), sum = h('p.facts'), hint = h('p.hint');
  const list = Rows('Mail, newest first', m => m.id, m => '#/inbox/' + enc(name) + '/' + enc(m.id),
    m => [m.from_agent, line(m.title || m.payload, 100) || '(no text)', weight(m), who(m.from_agent) + ' → ' + who(m.to_inbox) + (m.status === 'unread' ? ' · unread' : ''), m.created_at, m.status === 'unread'],
    () => olderMail(name));
  const empty = Empty('No mail yet', 'Mail waits in the file until its reader comes, running or not.', 'send');

  const back = () => h('a.back', { href: '#/inbox' }, '← Inbox');
  const title = h('h2'), facts = h('p.facts'), mark = Mark(), tags = [Tag(), Tag(), Tag()], body = h('div.letter', { dir: 'auto' });
  const answer = h('button.go', { type: 'button', onclick: reply }, 'Answer');
  const read = h('article.read', h('header.head', back(), mark, title, ...tags, facts), body, h('p.bar', answer));

  const to = h('input', { required: '', autocomplete: 'off', list: 'agents' }), subject = h('input', { autocomplete: 'off' });
  const type = select('notification request response handoff feedback info'), priority = select('info action urgent'), words = h('textarea', { required: '' });
  const about = h('h2'), alert = h('p.wrong', { role: 'alert' }), button = h('button.go', 'Send');
  const form = h('form.letterform', h('header.head', back(), about, h('p.facts', 'From you. Agents see it marked as from the human.')),
    h('div.grid', field('To', to), field('Title', subject), field('Type', type), field('Priority', priority)), field('Text', words), h('div.bar', alert, button));
  const root = Split('inbox', [h('header.head', h('h1', 'Inbox'), sum, h('a.go', { href: '#/inbox/human/new' }, 'Write')), nav, empty, list.root], [hint, read, form]);

  const current = () => [name, 'human', '*'].map(n => state.boxes.get(n)?.rows?.get(id)).find(Boolean);
  function reply() {
    const m = answered = current();
    to.value = m.from_agent; type.value = 'response';
    subject.value = m.title && (/^re:/i.test(m.title) ? '' : 'Re: ') + m.title;
    location.hash = '#/inbox/' + enc(name) + '/new';
  }
  onSend(form, button, alert, async () => {
    const row = await sendMail({
      to_inbox: to.value.trim(), payload: words.value, title: subject.value.trim() || words.value.trim().split('\n')[0].slice(0, 80),
      priority: priority.value, message_type: type.value, correlation_id: answered?.correlation_id || answered?.message_id,
    });
    words.value = subject.value = '';
    location.hash = '#/inbox/' + enc(row.to_inbox) + '/' + enc(row.id);
  });

  return {
    root, title: 'Inbox',
    route([where = 'human', which]) {
      name = where; id = which;
      if (id === 'new') requestAnimationFrame(() => (to.value ? words : to).focus());
      else if (answered) { answered = null; to.value = subject.value = ''; type.value = 'notification'; }
      text(alert, '');
      attr(root, 'data-detail', id);
    },
    paint(dirty) {
      if (dirty.has('all')) openBox(name);
      const chips = names(dirty, nav.matches(':hover')), b = box(name), m = id !== 'new' && current();
      chips.forEach((n, i) => {
        const a = boxes.children[i]?.firstChild || boxes.appendChild(h('li', h('a', h('span'), h('b.count')))).firstChild, [text1, count] = a.children;
        const un = n === 'human' ? waiting().length : state.boxes.get(n)?.unread;
        attr(a, 'href', '#/inbox/' + enc(n)); attr(a, 'aria-current', n === name ? 'true' : null);
        text(text1, label(n)); text(count, String(un || '')); hide(count, !un);
      });
      [...boxes.children].forEach((li, i) => hide(li, i >= chips.length));
      const items = order(dirty, list.held() && list.name === name);
      list.name = name;
      list.paint(items, id);
      hide(empty, !state.loaded || items.length || name !== 'human');
      text(sum, label(name) + (items.length ? ` · ${items.length}${b.next ? '+' : ''}` : ''));
      hide(read, !m); hide(form, id !== 'new');
      text(hint, id ? (m || id === 'new' ? '' : b.filled ? 'This message is not in this mailbox’s latest mail.' : 'Loading…') : items.length ? 'Choose a message to read it.' : b.filled ? (name === 'human' ? '' : 'No mail in this box.') : 'Loading…');
      hide(hint, !hint.textContent);
      text(about, answered ? 'Answer ' + who(answered.from_agent) : 'Write to an agent');
      if (!m) return;
      setMark(mark, m.from_agent); text(title, safe(m.title, 300) || '(no title)');
      [m.message_type, m.priority === 'info' ? '' : m.priority, m.status].forEach((w, i) => setTag(tags[i], w));
      text(facts, `${who(m.from_agent)} → ${who(m.to_inbox)} · ${full(m.created_at)}${m.claimed_by ? ' · claimed by ' + safe(m.claimed_by, 60) : ''}`);
      text(body, safe(m.payload, 200000));
      hide(answer, m.from_agent === 'human');
    },
  };
}
