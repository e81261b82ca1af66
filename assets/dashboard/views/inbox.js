// Inbox: every mailbox, with the person's own first; unread, all or sent; one message in
// full with its receipts, answered in place; writing as the human. States are the file's:
// a letter is marked when somebody marks it, not by being looked at.

import { h, text, hide, attr } from '../dom.js';
import { state, ordering, box, letters, fresh, waiting, touch } from '../store.js';
import { openBox, olderMail, sendMail, setMail, readAll, known, letter, notice } from '../sync.js';
import { Rows, Split, Empty, Mark, setMark, Tag, setTag, who, weight, field, select, onSend, Chips, tell, button } from '../parts.js';
import { Answer } from '../answer.js';
import { cap, line, safe, full, clock, url, place, query, write } from '../format.js';
import { words } from '../words.js';

const CHIPS = 12,
  SHOWS = ['unread', 'all', 'sent'];
const label = n => (n === '*' ? 'Every mailbox' : n === 'all' ? 'To all' : who(n));
const others = () =>
  [...state.boxes.values()].filter(b => !/^(human|\*|>.*)$/.test(b.name)).sort((x, y) => y.unread - x.unread || (x.name < y.name ? -1 : 1));

export default function inbox() {
  let name = 'human',
    source = 'human',
    id,
    show = 'all',
    tail = '',
    asked = 0,
    proof = null,
    every = false;
  const order = ordering('inbox', () => letters(source).filter(m => show !== 'unread' || fresh(m))),
    names = ordering('inbox', () => [
      'human',
      '*',
      ...others()
        .slice(0, every ? 1e9 : CHIPS)
        .map(b => b.name)
    ]);
  const nav = Chips('Mailboxes'),
    chips = Chips('Show'),
    sum = h('p.facts'),
    hint = h('p.hint'),
    ack = button('', ackAll, 'button.link'),
    rest = button(
      '',
      () => {
        every = !every;
        touch('inbox');
      },
      'button.link'
    );
  const list = Rows(
    'Mail, newest first',
    m => m.id,
    m => [
      url('inbox', name, m.id) + tail,
      m.from_agent,
      line(m.title || m.payload, 100) || '(no text)',
      weight(m),
      who(m.from_agent) + ' → ' + who(m.to_inbox) + (fresh(m) ? ' · unread' : ''),
      m.created_at,
      fresh(m)
    ],
    () => olderMail(source)
  );
  const empty = Empty('No mail yet', 'Mail waits for its reader.', 'send', 'ask');

  const back = () => h('a.back', { href: '#/inbox' }, '← Inbox');
  const title = h('h2', { tabindex: -1 }),
    facts = h('p.facts'),
    mark = Mark(),
    tags = [Tag(), Tag(), Tag()],
    body = h('div.letter', { dir: 'auto' }),
    way = h('ol.receipts'),
    answer = Answer();
  const read = h('article.read', h('header.head', back(), mark, title, ...tags, facts), body, answer.root, h('h3', 'Delivery'), way);

  const to = h('input', { required: true, autocomplete: 'off', list: 'agents' }),
    priority = select('info action urgent'),
    input = h('textarea', { required: true });
  const alert = h('p.wrong', { role: 'alert' }),
    go = h('button.go', 'Send');
  const form = h(
    'form.letterform',
    h('header.head', back(), h('h2', 'Write to an agent'), h('p.facts', 'Marked as from the human.')),
    h('div.grid', field('To', to), field('Priority', priority)),
    field('Text', input),
    h('div.bar', alert, go)
  );
  const root = Split(
    'inbox',
    [
      h('header.head', h('h1', 'Inbox'), sum, h('a.go', { href: write() }, 'Write')),
      nav,
      h('div.bar', chips, rest, ack),
      empty,
      list.root
    ],
    [hint, read, form]
  );

  const current = () =>
    [source, name, 'human', '*'].map(n => state.boxes.get(n)?.rows?.get(id)).find(Boolean) || (id && proof?.id === id && proof.row);
  const unread = () => letters(source).filter(fresh);
  async function ackAll() {
    ack.disabled = true;
    try {
      await readAll(source);
    } catch (e) {
      notice('Not marked: ' + e.message);
    }
    ack.disabled = false;
    touch('all');
  }
  onSend(form, go, alert, async () => {
    const name = to.value.trim();
    known(name);
    const row = await sendMail({ to_inbox: name, payload: input.value, priority: priority.value });
    input.value = '';
    location.hash = place(row);
  });

  /** What the file knows of a letter's way: asked again while it is open and not yet read. */
  async function follow() {
    const mine = proof?.id === id ? proof : (proof = { id });
    asked = Date.now();
    try {
      mine.row = await letter(mine.id);
      mine.list = mine.row.receipts;
      touch('inbox');
    } catch (e) {
      mine.missing = e.status === 404;
    }
  }
  function delivery(m) {
    const lines = [
      `sent · ${who(m.from_agent)} · ${clock(m.created_at)}`,
      ...(proof?.list || []).map(r => `${safe(r.state, 30)} · ${who(r.reader)}${r.via ? ' through ' + safe(r.via, 60) : ''} · ${clock(r.created_at)}`)
    ];
    // Mail to all has many readers: who has not looked is told, too.
    const looked = new Set((proof?.list || []).map(r => r.reader)),
      blind = m.to_inbox === 'all' ? [...state.agents.keys()].filter(a => a !== m.from_agent && !looked.has(a)) : [];
    if (blind.length) lines.push('not yet · ' + blind.map(a => safe(a, 60)).join(', '));
    if (m.claimed_by) lines.push(`claimed · ${safe(m.claimed_by, 60)} until ${clock(m.claim_expires_at)}`);
    if (m.read_at && !proof?.list?.some(r => r.state !== 'offered')) lines.push('read · ' + clock(m.read_at));
    else if (m.status === 'unread' && lines.length === 1) lines.push(m.to_inbox === 'human' ? 'Waits for you' : 'Waits for its reader');
    if (way.was === (way.was = lines.join('\n'))) return;
    way.replaceChildren(...lines.map(l => h('li', l)));
  }

  return {
    root,
    title: 'Inbox',
    keys: {
      a() {
        const row = document.activeElement.closest?.('.row'),
          m = row && list.items[row.at];
        if (m) setMail(m, m.status === 'unread' ? 'read' : 'unread').catch(e => notice('Not marked: ' + e.message));
        else if (!read.hidden) answer.done.click();
      },
      r: () => read.hidden || answer.input.focus(),
      m() {
        location.hash = write();
      }
    },
    route([where = 'human', which], params) {
      name = where;
      id = which;
      show = SHOWS.includes(params.get('show')) ? params.get('show') : 'all';
      source = show === 'sent' ? '>' + name : name;
      tail = query({ show: show === 'all' ? '' : show });
      if (id === 'new') {
        to.value = params.get('to') || to.value;
        requestAnimationFrame(() => (to.value ? input : to).focus());
      }
      text(alert, '');
      attr(root, 'data-detail', id);
    },
    paint(dirty) {
      if (dirty.has('all')) openBox(source);
      const shown = names(dirty, nav.matches(':hover')),
        b = box(source),
        m = id !== 'new' && current();
      nav.set(shown.map(n => [label(n), url('inbox', n) + tail, n === name, n === 'human' ? waiting().length : state.boxes.get(n)?.unread]));
      chips.set(SHOWS.map(w => [cap(w), url('inbox', name) + query({ show: w === 'all' ? '' : w }), w === show]));
      const key = source + show,
        items = order(dirty, list.held() && list.name === key),
        count = show === 'sent' ? 0 : unread().length;
      list.name = key;
      list.paint(items, id ?? null);
      const much = others().length - CHIPS;
      tell(rest, much > 0 ? (every ? 'Fewer mailboxes' : much + ' more mailboxes') : '');
      tell(ack, count && `Mark ${count}${b.more ? '+' : ''} read`);
      empty.show(state.loaded && !items.length && name === 'human' && show === 'all');
      text(sum, label(name) + (items.length ? ` · ${items.length}${b.next ? '+' : ''}` : ''));
      hide(read, !m);
      hide(form, id !== 'new');
      tell(
        hint,
        id
          ? m || id === 'new'
            ? ''
            : proof?.missing
              ? 'There is no such message.'
              : 'Loading…'
          : items.length
            ? 'Choose a message to read it.'
            : b.filled
              ? !empty.hidden
                ? ''
                : show === 'unread'
                  ? 'Nothing unread.'
                  : 'No mail here.'
              : 'Loading…'
      );
      // Asked again while it waits: receipts are no event of the stream.
      if (
        id &&
        id !== 'new' &&
        state.loaded &&
        (proof?.id !== id || (m && proof.status !== m.status) || (Date.now() - asked > 3000 && m?.status === 'unread'))
      ) {
        follow();
        proof.status = m?.status;
      }
      if (!m) return;
      setMark(mark, m.from_agent);
      text(title, safe(m.title, 300) || '(no title)');
      [m.message_type, m.priority === 'info' ? '' : m.priority, m.status].forEach((w, i) => setTag(tags[i], w));
      text(facts, `${who(m.from_agent)} → ${who(m.to_inbox)} · ${full(m.created_at)}`);
      words(body, m.payload);
      hide(answer.root, m.from_agent === 'human');
      answer.set(m);
      delivery(m);
    }
  };
}
