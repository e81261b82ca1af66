// Now: who waits for the person, who works, who is idle, what was finished today, and
// beside it everything as it happens. Questions are answered where they stand. Drawn four
// times a second at most; nothing changes its place while a hand is on the board.

import { h, text, hide, attr, List } from '../dom.js';
import { state, waiting, touch } from '../store.js';
import { Empty, Mark, setMark, Tag, setTag, setTime, Item, setItem, each, tell, Spark, who, weight } from '../parts.js';
import { Answer } from '../answer.js';
import { num, money, clock, line, brief, safe, dur, base } from '../format.js';
import { enc } from '../api.js';

const CARDS = 12, LINES = 24, ASKS = 5, LATELY = 300000, DAY = 86400000;
const URGE = { urgent: 2, action: 1 }, SUMS = ['turns', 'tokens_in', 'tokens_out', 'cost'];

/** One model per agent: its row, its instances' running totals added up, its last step. */
function models() {
  const now = Date.now(), all = new Map(), latest = new Map();
  for (const a of state.agents.values()) if (a.id !== 'human') all.set(a.id, { a, at: a.last_active_at });
  for (const t of state.telemetry.values()) {
    // Yesterday's work is not this session's; Costs has it.
    const id = t.agent_id || t.instance_id, m = all.get(id) || { a: { id }, at: 0 }, s = m.s ||= { at: 0 };
    if (t.at > now - DAY) for (const k of SUMS) s[k] = (s[k] || 0) + (t[k] || 0);
    if (t.at >= s.at) Object.assign(s, { at: t.at, status: t.status, model: t.model });
    m.at = Math.max(m.at, t.at);
    all.set(id, m);
  }
  for (const k of state.tasks.values()) if (!(latest.get(k.agent_id)?.updated_at > k.updated_at)) latest.set(k.agent_id, k);
  for (const [id, m] of all) {
    const { a, s } = m, task = m.task = latest.get(id), fresh = (x, t) => x?.status === 'running' && now - t < LATELY;
    const bad = now - m.at < DAY && (a.status === 'error' || s?.status === 'error' || (/^(failed|error)$/.test(task?.status) && task.updated_at >= m.at - 1000));
    m.status = bad ? 'error' : a.status === 'running' || fresh(s, s?.at) || fresh(task, task?.updated_at) ? 'working' : 'idle';
    m.e = m.status !== 'idle' && state.doing.get(id);
    m.unread = state.boxes.get(id)?.unread;
  }
  return [...all.values()].sort((x, y) => (x.a.id < y.a.id ? -1 : 1));
}

const DOES = { text: 'writes', turn_start: 'begins a turn', turn_end: 'ended a turn' };
const said = e => (e.stream_type === 'tool_use' ? brief(e.tool_input) : line(e.error_msg || e.text || e.tool_output || e.status || e.directive));
const open = m => (m.task ? '#/tasks/' + enc(m.task.task_id) : '#/inbox/' + enc(m.a.id));
const title = m => safe(m.a.label || m.a.id, 80), write = id => '#/inbox/human/new?to=' + enc(id);
function Card() {
  const mark = Mark(), name = h('a'), model = h('span.sub'), tag = Tag(), tool = h('b'), what = h('span.what'), tick = h('span.tick'), spark = Spark();
  const ws = h('span.ws'), mail = h('a.mail'), at = h('time'), say = h('a', 'Message');
  const nums = ['turns', 'in', 'out', 'cost'].map(k => h('div', h('dt', k), h('dd')));
  const root = h('article.card', h('header', mark, h('h3', name), model, tag), h('p.act', tool, what, tick), h('div.use', h('dl.nums', ...nums), spark), h('footer', ws, mail, say, at));
  root.set = m => {
    const { a, s, e, task, unread } = m;
    root.key = a.id;
    setMark(mark, a.id); text(name, title(m)); attr(name, 'href', open(m)); setTag(tag, m.status); text(model, line(s?.model, 30));
    attr(root, 'data-tone', m.status);
    text(tool, e ? line(e.tool_name || DOES[e.stream_type] || e.stream_type, 30) : '');
    text(what, (e ? said(e) : line(task?.directive)) || '–');
    text(tick, e ? dur((Date.now() - e.created_at) / 1e3) : '');
    nums.forEach((n, i) => text(n.lastChild, s?.[SUMS[i]] ? (i < 3 ? num : money)(s[SUMS[i]]) : '–'));
    spark.set(state.beats.get(a.id) || []);
    text(ws, base(a.workspace || task?.workspace)); ws.title = a.workspace || '';
    hide(mail, !unread); text(mail, unread + ' unread'); attr(mail, 'href', '#/inbox/' + enc(a.id)); attr(say, 'href', write(a.id));
    setTime(at, m.at);
  };
  return root;
}

function Ask() {
  const head = Item(), body = h('p.text'), answer = Answer(), root = h('article.ask', head, body, answer.root);
  root.set = m => {
    const rest = safe(m.payload, 600).replace(/\n\s*\n/g, '\n').trim();
    setItem(head, '#/inbox/human/' + enc(m.id), m.from_agent, who(m.from_agent), weight(m), line(m.title || m.payload), m.created_at);
    tell(body, line(rest, 600) === line(m.title, 600) ? '' : rest);
    answer.set(m);
  };
  return root;
}

const FEED = {
  message: m => [m.from_id, m.thread_id, m.subject || m.content, 'threads/' + enc(m.thread_id) + '/' + m.message_seq, m.kind],
  mail: m => [m.from_agent, who(m.to_inbox), m.title || m.payload, 'inbox/' + enc(m.to_inbox) + '/' + enc(m.id), 'mail'],
  task: e => [e.agent_id || e.task_id, e.tool_name || e.stream_type, said(e), 'tasks/' + enc(e.task_id) + (e.id ? '/' + e.id : ''), e.stream_type],
};

export default function now() {
  const facts = h('p.facts'), asks = h('ul.asks'), broken = h('ul.lines'), more = h('a.more', { href: '#/inbox/human' });
  const needs = h('section.needs', { 'aria-label': 'Needs you' }, h('h2', 'Needs you'), asks, broken, more), quiet = h('p.hint', 'Quiet.');
  const working = h('ul.cards'), idle = h('ul.lines'), busy = h('section', h('h2', 'Working'), working), calm = h('section', h('h2', 'Idle'), idle);
  const done = h('ul.lines'), sum = h('summary'), finished = h('details.finished', sum, done);
  const empty = Empty('No agent has written yet', 'One row in the file, and it stands here.', 'demo', 'run', 'init', 'sql');
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
  const board = h('div.board', h('header.head', h('h1', 'Now'), facts), needs, busy, calm, finished, empty);
  const root = h('div.now', board, h('section.feed', { 'aria-label': 'Activity' }, h('h2', 'Activity'), quiet, list.root));
  let last = 0, hand = -1e9, timer = 0, places = new Map();
  board.onpointermove = () => { hand = performance.now(); };

  /** Under a hand every agent keeps its group, and in a group they stand by name. */
  function placed(agents) {
    const held = performance.now() - hand < 2500 || board.contains(document.activeElement);
    for (const m of agents) m.group = held && places.get(m.a.id) || m.status;
    places = new Map(agents.map(m => [m.a.id, m.group]));
    return agents;
  }

  function draw() {
    const agents = placed(models()), by = s => agents.filter(m => m.group === s), wait = waiting().sort((a, b) => (URGE[b.priority] || 0) - (URGE[a.priority] || 0) || a.created_at - b.created_at);
    const bad = by('error'), work = by('working'), rest = by('idle'), today = [...state.tasks.values()].filter(k => k.status === 'completed' && k.updated_at > new Date().setHours(0, 0, 0, 0)).sort((a, b) => b.updated_at - a.updated_at);
    // Questions keep their places while one is being answered.
    if (!asks.contains(document.activeElement)) each(asks, wait.slice(0, ASKS), Ask, (c, m) => c.set(m));
    each(broken, bad.slice(0, LINES), Item, (c, m) => setItem(c, open(m), m.a.id, title(m), 'error', m.e ? said(m.e) : line(m.task?.directive), m.at));
    tell(more, wait.length > ASKS ? `${wait.length - ASKS} more in your inbox` : ''); hide(needs, !wait.length && !bad.length);
    each(working, work.slice(0, CARDS), Card, (c, m) => c.set(m));
    each(idle, [...work.slice(CARDS), ...rest].slice(0, LINES), Item, (c, m) => setItem(c, open(m), m.a.id, title(m), '', [base(m.a.workspace), m.s && money(m.s.cost), m.unread && m.unread + ' unread'].filter(Boolean).join(' · '), m.at));
    each(done, finished.open ? today.slice(0, LINES) : [], Item, (c, k) => setItem(c, '#/tasks/' + enc(k.task_id), k.agent_id || k.task_id, line(k.directive) || safe(k.task_id, 80), 'completed', who(k.agent_id) + (k.cost ? ' · ' + money(k.cost) : ''), k.updated_at));
    text(sum, `Finished today (${today.length})`);
    hide(busy, !work.length); hide(calm, !rest.length && work.length <= CARDS); hide(finished, !today.length);
    text(facts, agents.length ? `${work.length} of ${agents.length} working` + (state.today != null ? ` · ${money(state.today)} today` : '') : '');
    hide(empty, !state.loaded || agents.length || state.feed.length || state.threads.size);
  }
  finished.ontoggle = () => touch('all');

  return {
    root, title: '',
    keys: {
      a: () => asks.querySelector('.answer > button:last-of-type')?.click(),
      r: () => asks.querySelector('input')?.focus(),
      m() { location.hash = write(document.activeElement.closest('.card')?.key || ''); },
    },
    paint(dirty) {
      const wait = 240 - (performance.now() - last);
      if (wait < 0 || dirty.has('all')) { last = performance.now(); draw(); } else timer ||= setTimeout(() => { timer = 0; touch('tick'); }, wait);
      hide(quiet, state.feed.length);
      list.paint(list.held() && list.root.scrollTop ? list.items : state.feed);
    },
  };
}
