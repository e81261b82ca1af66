// Now: who waits for the person, who works, what each is doing and has used, and
// beside it everything as it happens. Cards are drawn four times a second at most.

import { h, text, hide, attr, List } from '../dom.js';
import { state, ordering, waiting } from '../store.js';
import { Empty, Mark, setMark, Tag, setTag, setTime, who, weight } from '../parts.js';
import { num, money, clock, line, brief, safe, dur } from '../format.js';
import { enc } from '../api.js';

const CARDS = 24, ASKS = 5, LATELY = 300000;
const RANK = { error: 0, working: 1, idle: 2 }, URGE = { urgent: 2, action: 1 };
const SUMS = ['turns', 'tokens_in', 'tokens_out', 'cost'];

/** One model per agent: its row, its instances' running totals added up, its last step. */
function models() {
  const now = Date.now(), all = new Map(), latest = new Map();
  for (const a of state.agents.values()) if (a.id !== 'human') all.set(a.id, { a, at: a.last_active_at });
  for (const t of state.telemetry.values()) {
    const id = t.agent_id || t.instance_id, m = all.get(id) || { a: { id }, at: 0 }, s = m.s ||= { at: 0 };
    for (const k of SUMS) s[k] = (s[k] || 0) + (t[k] || 0);
    if (t.at >= s.at) Object.assign(s, { at: t.at, status: t.status, model: t.model });
    m.at = Math.max(m.at, t.at);
    all.set(id, m);
  }
  for (const k of state.tasks.values()) if (!(latest.get(k.agent_id)?.updated_at > k.updated_at)) latest.set(k.agent_id, k);
  for (const [id, m] of all) {
    const { a, s } = m, task = m.task = latest.get(id), fresh = (x, t) => x?.status === 'running' && now - t < LATELY;
    m.status = a.status === 'error' || s?.status === 'error' ? 'error' : a.status === 'running' || fresh(s, s?.at) || fresh(task, task?.updated_at) ? 'working' : 'idle';
    m.e = m.status !== 'idle' && state.doing.get(id);
    m.unread = state.boxes.get(id)?.unread;
  }
  return [...all.values()].sort((x, y) => RANK[x.status] - RANK[y.status] || (x.status === 'idle' && y.at - x.at) || (x.a.id < y.a.id ? -1 : 1));
}

const DOES = { text: 'writes', turn_start: 'begins a turn', turn_end: 'ended a turn' };
const said = e => (e.stream_type === 'tool_use' ? brief(e.tool_input) : line(e.error_msg || e.text || e.tool_output || e.status || e.directive));

function Card() {
  const els = [Mark(), h('h3'), Tag(), h('b'), h('span.what'), h('span.tick'), h('span.ws'), h('a.mail'), h('time')];
  const [mark, name, tag, tool, what, tick, ws, mail, at] = els, nums = ['turns', 'in', 'out', 'cost'].map(k => h('div', h('dt', k), h('dd')));
  const root = h('li.card', h('header', mark, name, tag), h('p.act', tool, what, tick), h('dl.nums', ...nums), h('footer', ws, mail, at));
  return { root, set({ a, s, e, task, status, unread, at: seen }) {
    setMark(mark, a.id); text(name, safe(a.label || a.id, 80)); setTag(tag, status);
    attr(root, 'data-tone', status);
    text(tool, e ? line(e.tool_name || DOES[e.stream_type] || e.stream_type, 30) : '');
    text(what, (e ? said(e) : line(task?.directive)) || '–');
    text(tick, e && status === 'working' ? dur((Date.now() - e.created_at) / 1e3) : '');
    nums.forEach((n, i) => text(n.lastChild, s ? (i < 3 ? num : money)(s[SUMS[i]]) : '–'));
    text(ws, line((a.workspace || '').replace(/.*\/(?=.)/, '') || s?.model)); ws.title = a.workspace || '';
    hide(mail, !unread); text(mail, unread + ' unread'); attr(mail, 'href', '#/inbox/' + enc(a.id));
    setTime(at, seen);
  } };
}

const FEED = {
  message: m => [m.from_id, m.thread_id, m.subject || m.content, 'threads/' + enc(m.thread_id), m.kind],
  mail: m => [m.from_agent, who(m.to_inbox), m.title || m.payload, 'inbox/' + enc(m.to_inbox) + '/' + enc(m.id), 'mail'],
  task: e => [e.agent_id || e.task_id, e.tool_name || e.stream_type, said(e), 'tasks/' + enc(e.task_id), e.stream_type],
};

export default function now() {
  const facts = h('p.facts'), asks = h('ul.asks'), more = h('a.more', { href: '#/inbox/human' }), cards = h('ul.cards', { 'aria-label': 'Agents' }), rest = h('p.facts');
  const needs = h('section.needs', h('h2', 'Needs you'), asks, more), quiet = h('p.hint', 'Quiet. What agents write appears here.');
  const empty = Empty('No agent has written yet', 'Agents need no set-up. One row in the file, and it stands here.', 'sql', 'post', 'send');
  const list = new List({
    label: 'Activity, newest first', height: 30, key: i => i.k,
    make: () => h('a', h('time'), Mark(), h('b'), h('span.to'), h('span.what')),
    fill(a, i) {
      if (a.k === i.k) return;
      a.k = i.k;
      const [time, mark, from, to, what] = a.children, [name, where, words, href, tone] = FEED[i.type](i.row);
      text(time, clock(i.t)); setMark(mark, name); text(from, who(name)); text(to, line(where, 40)); text(what, line(words, 120));
      a.href = '#/' + href;
      attr(a, 'data-tone', tone);
    },
  });
  const root = h('div.now', h('div.board', h('header.head', h('h1', 'Now'), facts), needs, cards, rest, empty), h('section.feed', h('h2', 'Activity'), quiet, list.root));
  const pool = [], order = ordering('agents', models);
  let last = 0;

  function ask(m, i) {
    const a = asks.children[i]?.firstChild || asks.appendChild(h('li', h('a', Mark(), h('b'), Tag(), h('span.what'), h('time')))).firstChild;
    const [mark, from, tag, what, time] = a.children;
    a.href = '#/inbox/human/' + enc(m.id);
    setMark(mark, m.from_agent); text(from, who(m.from_agent)); setTag(tag, weight(m)); text(what, line(m.title || m.payload)); setTime(time, m.created_at);
  }

  return {
    root, title: '',
    paint(dirty) {
      const agents = order(dirty);
      if (Date.now() - last > 240 || dirty.has('all')) {
        last = Date.now();
        const wait = waiting().sort((a, b) => (URGE[b.priority] || 0) - (URGE[a.priority] || 0)), works = agents.filter(m => m.status === 'working').length;
        agents.slice(0, CARDS).forEach((m, i) => {
          if (!pool[i]) cards.append((pool[i] = Card()).root);
          pool[i].set(m);
        });
        pool.forEach((c, i) => hide(c.root, i >= agents.length));
        text(facts, agents.length ? `${works} of ${agents.length} working · ${money(agents.reduce((n, m) => n + (m.s?.cost || 0), 0))} reported` : '');
        text(rest, `and ${agents.length - CARDS} more, quiet for longer`);
        hide(rest, agents.length <= CARDS);
        hide(empty, !state.loaded || agents.length || state.feed.length || state.threads.size);
        wait.slice(0, ASKS).forEach(ask);
        [...asks.children].forEach((li, i) => hide(li, i >= wait.length));
        text(more, `${wait.length - ASKS} more in your inbox`);
        hide(more, wait.length <= ASKS); hide(needs, !wait.length);
        hide(quiet, state.feed.length);
      }
      list.paint(list.held() && list.root.scrollTop ? list.items : state.feed);
    },
  };
}
