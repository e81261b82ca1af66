// Now: who waits for the person, who works, who is idle, what was finished today, and
// beside it everything as it happens. Questions are answered where they stand. Drawn four
// times a second at most; nothing changes its place while a hand is on the board, and a
// question's card is that question's for life: no click can meet another one.

import { h, text, hide, attr, List } from '../dom.js';
import { state, agents, needs, hush, touch, again, SUMS } from '../store.js';
import { Empty, Mark, setMark, Tag, setTag, setTone, setTime, Item, setItem, each, tell, button, Spark, who, weight } from '../parts.js';
import { Answer } from '../answer.js';
import { num, money, line, brief, safe, dur, base, url, place, write } from '../format.js';

const CARDS = 12,
  LINES = 24,
  ASKS = 5,
  SETTLE = 500;
const OPEN = '.ask:has(.answer:not([hidden]))';
const URGE = { urgent: 2, action: 1 };

const DOES = { text: 'writes' };
const said = e => (e.stream_type === 'tool_use' ? brief(e.tool_input) : line(e.error_msg || e.text || e.tool_output || e.directive || e.status));
const open = m => (m.task ? url('tasks', m.task.task_id) : url('inbox', m.a.id));
const title = m => safe(m.a.label || m.a.id, 80);
const letters = (e, { unread, a }) => {
  hide(e, !unread);
  text(e, unread + ' unread');
  attr(e, 'href', url('inbox', a.id));
};

function Card() {
  const mark = Mark(),
    name = h('a'),
    model = h('span.sub'),
    tag = Tag(),
    tool = h('b'),
    what = h('span.what'),
    tick = h('span.tick'),
    spark = Spark(),
    act = h('p.act', tool, what, tick);
  const ws = h('span.ws'),
    mail = h('a.mail'),
    at = h('time'),
    say = h('a', 'Message'),
    seen = button('Dismiss', () => hush(root.m), 'button.link'),
    use = h('div.use');
  const nums = ['turns', 'in', 'out', 'cost'].map(k => h('div', h('dt', k), h('dd')));
  const root = h('article.card', h('header', mark, h('h3', name), model, tag), act, use, h('footer', ws, mail, say, seen, at));
  use.append(h('dl.nums', ...nums), spark);
  root.set = m => {
    const { a, s, e, task } = m,
      beats = state.beats.get(a.id),
      calls = (e && !/^turn_|^status/.test(e.stream_type)) || e?.text ? e : null;
    root.m = m;
    root.key = a.id;
    setMark(mark, a.id);
    text(name, title(m));
    attr(name, 'href', open(m));
    setTag(tag, m.status);
    text(model, line(s?.model, 30));
    setTone(root, m.status);
    const does = calls ? said(calls) : line(task?.directive);
    tell(tool, calls ? line(calls.tool_name || DOES[calls.stream_type] || calls.stream_type, 30) : '');
    text(what, does);
    hide(act, !does && !calls);
    text(tick, calls ? dur((Date.now() - calls.created_at) / 1e3) : '');
    nums.forEach((n, i) => text(n.lastChild, s?.[SUMS[i]] ? (i < 3 ? num : money)(s[SUMS[i]]) : '–'));
    attr(spark, 'hidden', beats?.some(Boolean) ? null : '');
    spark.set(beats || []);
    text(ws, base(a.workspace || task?.workspace));
    ws.title = safe(a.workspace, 300);
    letters(mail, m);
    attr(say, 'href', write(a.id));
    hide(seen, !/error|waiting/.test(m.status));
    setTime(at, m.at);
  };
  return root;
}
function Line() {
  const item = Item(),
    mail = h('a.mail'),
    say = h('a', 'Message'),
    root = h('div.line', item, mail, say);
  root.set = m => {
    const does =
      m.status === 'idle' ? [base(m.a.workspace), m.s && money(m.s.cost)].filter(Boolean).join(' · ') : m.e ? said(m.e) : line(m.task?.directive);
    root.key = m.a.id;
    setItem(item, open(m), m.a.id, title(m), '', does, m.at);
    letters(mail, m);
    attr(say, 'href', write(m.a.id));
  };
  return root;
}

function Ask() {
  const head = Item(),
    body = h('p.text'),
    over = h('p.text sub', { hidden: true }),
    answer = Answer(),
    root = h('article.ask', head, body, over, answer.root);
  root.set = m => {
    const rest = safe(m.payload, 600)
      .replace(/\n\s*\n/g, '\n')
      .trim();
    setItem(
      head,
      place(m),
      m.from_agent,
      who(m.from_agent),
      weight(m),
      line(m.title || m.payload),
      m.created_at
    );
    tell(body, line(rest, 600) === line(m.title, 600) ? '' : rest);
    answer.set(m);
  };
  /** It waits no more: no button is left, and the hand goes on to the next. */
  root.close = () => {
    const mine = root.contains(document.activeElement);
    hide(answer.root, true);
    tell(over, answer.last || 'No longer waiting.');
    if (mine) (root.closest('ul').querySelector(OPEN + ' a') || head).focus();
  };
  return root;
}
/** The cards of what waits: new ones below while a hand or the focus is here, sorted when not. */
function arrange(ul, list) {
  const over = ul.matches(':hover'),
    held = over || ul.contains(document.activeElement),
    lis = [...ul.children],
    had = new Map(lis.map(li => [li.mail, li])),
    waits = new Map(list.map(m => [m.id, m]));
  const card = m => {
      const li = had.get(m.id) || h('li', Ask());
      li.mail = m.id;
      return li;
    },
    top = list.slice(0, ASKS);
  const want = !held
    ? top.map(card)
    : [
        ...lis.filter(li => waits.has(li.mail) || over || li.contains(document.activeElement)),
        ...top
          .filter(m => !had.has(m.id))
          .slice(0, Math.max(0, 2 * ASKS - lis.length))
          .map(card)
      ];
  for (const li of lis) if (!want.includes(li)) li.remove();
  want.forEach((li, i) => {
    if (ul.children[i] !== li) ul.insertBefore(li, ul.children[i] || null);
    const ask = li.firstChild,
      m = waits.get(li.mail);
    m ? ask.set(m) : ask.close();
    if (lis[i] === li) return;
    // What came to stand here just now is not what the hand meant to meet.
    attr(li, 'data-new', true);
    clearTimeout(li.timer);
    li.timer = setTimeout(() => attr(li, 'data-new', null), SETTLE);
  });
}

const FEED = {
  message: m => [m.from_id, m.thread_id, m.subject || m.content, m.kind],
  mail: m => [m.from_agent, who(m.to_inbox), m.title || m.payload, 'mail'],
  task: e => [
    e.agent_id || e.task_id,
    e.tool_name || DOES[e.stream_type] || e.stream_type,
    said(e),
    e.stream_type
  ]
};

export default function now() {
  const facts = h('p.facts'),
    asks = h('ul.asks'),
    broken = h('ul.cards'),
    more = h('a.more', { href: '#/inbox/human?show=unread' });
  const needed = h('section.needs', { 'aria-label': 'Needs you' }, h('h2', 'Needs you'), asks, broken, more),
    quiet = h('p.hint', 'Quiet.');
  const working = h('ul.cards'),
    packed = h('ul.lines'),
    idle = h('ul.lines'),
    others = ['', ''].map(() =>
      button(
        '',
        () => {
          wide = true;
          touch('all');
        },
        'button.link'
      )
    );
  const busy = h('section', h('h2', 'Working'), working, packed, others[0]),
    calm = h('section', h('h2', 'Idle'), idle, others[1]);
  const done = h('ul.lines'),
    sum = h('summary'),
    finished = h('details.finished', sum, done);
  const empty = Empty('No agent has written yet', 'One row in the file, and it stands here.', 'demo', 'run', 'init', 'sqlite3');
  const list = new List({
    label: 'Activity, newest first',
    height: 30,
    key: i => i.k,
    make: Item,
    fill(a, i) {
      const [name, where, words, tone] = FEED[i.type](i.row);
      setItem(a, place(i.row), name, who(name), '', [line(where, 40), line(words, 120)].filter(Boolean).join(': '), i.t);
      setTone(a, tone);
    }
  });
  const board = h('div.board', h('header.head', h('h1', 'Now'), facts), needed, busy, calm, finished, empty);
  const root = h('div.now', board, h('section.feed', { 'aria-label': 'Activity' }, h('h2', 'Activity'), quiet, list.root));
  let last = 0,
    hand = -1e9,
    places = new Map(),
    wide = false;
  board.onpointermove = () => {
    hand = performance.now();
  };

  /** Under a hand every agent keeps its group, and in a group they stand by name. */
  function placed(all) {
    const held = performance.now() - hand < 2500 || board.contains(document.activeElement);
    for (const m of all) m.group = (held && places.get(m.a.id)) || m.status;
    places = new Map(all.map(m => [m.a.id, m.group]));
    return all;
  }
  const set = (c, m) => c.set(m),
    by = (all, s) => all.filter(m => m.group === s);
  /** A group's lines, as many as are asked for. */
  function lines(ul, b, all) {
    const n = wide ? 500 : LINES;
    each(ul, all.slice(0, n), Line, set);
    tell(b, all.length > n ? all.length - n + ' more' : '');
  }

  function draw() {
    const all = placed(agents()),
      need = needs(all),
      wait = need.asks.sort((a, b) => (URGE[b.priority] || 0) - (URGE[a.priority] || 0) || a.created_at - b.created_at);
    const bad = [...by(all, 'waiting'), ...by(all, 'error')],
      work = by(all, 'working'),
      rest = by(all, 'idle');
    const today = [...state.tasks.values()]
      .filter(k => k.status === 'completed' && k.updated_at > new Date().setHours(0, 0, 0, 0))
      .sort((a, b) => b.updated_at - a.updated_at);
    arrange(asks, wait);
    each(broken, bad.slice(0, CARDS), Card, set);
    const left = wait.length - ASKS;
    tell(more, left > 0 ? `${left}${need.more ? '+' : ''} more in your inbox` : '');
    hide(needed, !asks.firstChild && !bad.length);
    each(working, work.slice(0, CARDS), Card, set);
    lines(packed, others[0], work.slice(CARDS));
    lines(idle, others[1], rest);
    each(done, finished.open ? today.slice(0, LINES) : [], Item, (c, k) =>
      setItem(
        c,
        url('tasks', k.task_id),
        k.agent_id || k.task_id,
        line(k.directive) || safe(k.task_id, 80),
        'completed',
        who(k.agent_id) + (k.cost ? ' · ' + money(k.cost) : ''),
        k.updated_at
      )
    );
    text(sum, `Finished today (${today.length})`);
    hide(busy, !work.length);
    hide(calm, !rest.length);
    hide(finished, !today.length);
    text(facts, all.length ? `${work.length} of ${all.length} working` + (state.today != null ? ` · ${money(state.today)} today` : '') : '');
    empty.show(state.loaded && !(all.length || state.feed.length || state.threads.size));
  }
  finished.ontoggle = () => touch('all');
  const focused = s => document.activeElement.closest(s),
    here = () => focused(OPEN) || asks.querySelector(OPEN);

  return {
    root,
    title: '',
    keys: {
      a: () => here()?.querySelector('.answer > button:last-of-type').click(),
      r: () => here()?.querySelector('input').focus(),
      m() {
        location.hash = write(focused('.card')?.key || focused('.line')?.key || '');
      }
    },
    paint(dirty) {
      if (performance.now() - last > 240 || dirty.has('all')) {
        last = performance.now();
        draw();
      } else again();
      hide(quiet, state.feed.length);
      list.paint(list.held() && list.root.scrollTop ? list.items : state.feed);
    }
  };
}
