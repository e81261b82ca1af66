// Tasks: a table of all, filtered and sorted by what stands in the URL, and one task's steps
// as they come. A call and its result are one row (the store joins them), a running call's
// clock ticks, and with the waterfall on every step shows its place on the task's time axis.

import { h, text, hide, attr, svg, List, Log } from '../dom.js';
import { state, ordering, touch, kept, keep } from '../store.js';
import { openTask, olderEvents, older, everyEvent, notice } from '../sync.js';
import { Empty, Mark, setMark, Tag, setTag, setTime, who, Chips, tell, save, button } from '../parts.js';
import { num, money, clock, line, brief, pretty, safe, dur, took, base, many } from '../format.js';
import { words } from '../words.js';
import { enc, query } from '../api.js';

const name = k => line(k.directive) || safe(k.task_id, 80), failed = s => /^(failed|error)$/.test(s);
const length = k => ((k.status === 'running' ? Date.now() : k.updated_at) - k.started_at) / 1e3, tokens = k => (k.tokens_in || 0) + (k.tokens_out || 0);

// ---- the table ----

/** What stands after name and state. */
const CELLS = [k => who(k.agent_id), k => base(k.workspace), k => many(k.turns, 'turn'), k => num(tokens(k)) + ' tok', k => (k.cost ? money(k.cost) : '–'), k => dur(length(k))];
const UNITS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** status:failed agent:planner cost:>1 since:2h errors:>0, and words; sort:cost is not for here. */
function filter(q) {
  const tests = (q.match(/\S+/g) || []).map(token => {
    const [, key, op, value] = /^(\w+):([<>]?)(.+)$/.exec(token) || [], low = (value || token).toLowerCase();
    const has = f => k => String(k[f] || '').toLowerCase().includes(low), time = /^(\d+)([smhd])$/.exec(low);
    if (key === 'since') return k => !time || k.updated_at > Date.now() - time[1] * UNITS[time[2]];
    if (/^(cost|turns|tokens|errors)$/.test(key)) return k => { const n = key === 'tokens' ? tokens(k) : k[key] || 0; return op === '>' ? n > +value : op === '<' ? n < +value : n === +value; };
    const f = { agent: 'agent_id', status: key, workspace: key, model: key }[key];
    return f ? has(f) : k => ['directive', 'task_id', 'agent_id'].some(f => has(f)(k));
  });
  return k => tests.every(t => t(k));
}

// ---- one step ----

const bad = (e, end) => e.stream_type === 'error' || !!end && (!!end.error_msg || failed(end.status));
const endOf = ({ e, result }) => result || (e.stream_type === 'tool_result' && e);

/** Input and output are made when someone looks: most steps are never opened. */
function unfold(d) {
  d.querySelector('.io')?.remove();
  if (!d.open) return;
  const { e, result } = d.row, end = result || e, io = h('div.io');
  for (const [label, s] of [['Input', e.tool_input], ['Output', end.tool_output], ['Error', end.error_msg]]) if (s) io.append(h('h4', label), h('pre', { tabindex: 0 }, pretty(s)));
  if (!io.firstChild) io.append(h('p', 'Nothing was recorded.'));
  d.append(io);
}
const make = () => h('div.step', h('a.gut'),
  h('details', { ontoggle() { if (this.row && !this.row.open === this.open) { this.row.open = this.open; unfold(this); } } },
    h('summary', h('i'), h('b'), h('span.what'), h('span.tick'))), h('div.text', { dir: 'auto' }),
  svg('svg', { class: 'lane', viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('path')));

function wording(e) {
  const sum = e.tokens_in || e.tokens_out ? ` · ${num(e.tokens_in)} in · ${num(e.tokens_out)} out${e.cost ? ' · ' + money(e.cost) : ''}` : '', turn = 'Turn ' + (e.turn_num || '');
  switch (e.stream_type) {
    case 'turn_start': return turn;
    case 'turn_end': return turn + ' ended' + sum;
    case 'error': return 'Error: ' + (e.error_msg || e.text || 'no reason given');
    case 'status': return e.status + sum + (e.text ? ': ' + e.text : '');
    default: return e.text || e.status || e.stream_type;
  }
}

/** The steps as a document. */
const markdown = (k, list) => `# ${name(k)}\n\n` + list.map(e => {
  const tool = e.tool_input || e.tool_output;
  return e.stream_type === 'turn_start' ? `## ${wording(e)}\n` : tool ? `**${e.tool_name}** ${e.error_msg}\n\n~~~~\n${tool}\n~~~~\n` : wording(e) + '\n';
}).join('\n');

export default function tasks() {
  let id, run, q = '', by, test = () => true, goal = 0, axis = [0, 1], outlined = 0, tail = '', wide = kept('fall');


  const order = ordering('tasks', () => [...state.tasks.values()].filter(test).sort((a, b) => (by ? (b[by] || 0) - (a[by] || 0) : (b.status === 'running') - (a.status === 'running')) || b.updated_at - a.updated_at));
  const search = h('input', { type: 'search', 'aria-label': 'Filter tasks', placeholder: 'status:failed agent:planner cost:>1 since:2h sort:cost words', spellcheck: 'false', oninput: () => location.replace('#/tasks' + query({ q: search.value })) });
  const chips = Chips('State');
  const list = new List({
    label: 'Tasks', height: 40, key: k => k.task_id, end: () => older('tasks'),
    make: () => h('a.trow', h('span', Mark(), h('b')), Tag(), ...CELLS.map(() => h('span')), h('time')),
    fill(a, k) {
      const [first, tag, ...rest] = a.children, time = rest.pop();
      attr(a, 'href', '#/tasks/' + enc(k.task_id) + tail);
      setMark(first.firstChild, k.agent_id || k.task_id); text(first.lastChild, name(k)); setTag(tag, k.status);
      rest.forEach((e, i) => text(e, CELLS[i](k)));
      setTime(time, k.updated_at);
    },
  });
  const empty = Empty('No task yet', 'A task is a stream of steps.', 'run', 'demo'), none = h('p.hint', 'No task fits this filter.');
  const sum = h('p.facts');
  const table = h('section.table', h('header.head', h('h1', 'Tasks'), sum, chips, search), empty, none, list.root);

  const title = h('h2'), tag = Tag(), facts = h('p.facts'), hint = h('p.hint'), back = h('a.back', '← Tasks'), ask = h('a.go', 'Message');
  const errors = button('', () => jump(1)), fall = button('Waterfall', () => { keep('fall', wide = !wide); touch('all'); }), follow = button('Follow', () => log.tail());
  const saves = [['JSONL', (k, l) => l.map(e => JSON.stringify(e) + '\n').join('')], ['Markdown', markdown]].map(([label, make]) => button(label, async () => {
    try {
      const all = [];
      for await (const e of everyEvent(id)) all.push(e);
      save(id + (make === markdown ? '.md' : '.jsonl'), make(state.tasks.get(id) || { task_id: id }, all));
    } catch (e) { notice('Not exported: ' + e.message); }
  }));
  const top = h('header.head', back, title, tag, facts, h('p.bar', errors, fall, follow, ...saves, ask));
  const log = new Log({ label: 'Steps', live: 'off', make, fill, older: () => olderEvents(run) });
  const turns = new List({
    label: 'Turns', height: 34, key: t => t.i,
    make: () => h('a', h('b'), h('span.tick')),
    fill(a, t) {
      const [label, tick] = a.children;
      attr(a, 'href', '#/tasks/' + enc(id) + '/' + t.e.id + tail);
      text(label, 'Turn ' + t.n); attr(a, 'data-tone', t.errors ? 'bad' : 'run');
      text(tick, t.errors ? many(t.errors, 'error') : [took((t.end - t.start) / 1e3), t.cost && money(t.cost)].filter(Boolean).join(' · '));
    },
  });
  const detail = h('section.detail', top, hint, h('div.run', h('section.outline', { 'aria-label': 'Turns' }, turns.root), log.root)), root = h('div.tasks', table, detail);

  function fill(el, row, prev) {
    const { e } = row, [time, d, p, lane] = el.children, type = e.stream_type, tool = type.startsWith('tool_'), at = clock(e.created_at), end = endOf(row), wrong = bad(e, end);
    text(time, prev && clock(prev.e.created_at) === at ? '·' : at); attr(time, 'href', '#/tasks/' + enc(e.task_id) + '/' + e.id + tail); attr(time, 'aria-label', 'Link to the step at ' + at);
    hide(d, !tool); hide(p, tool);
    attr(el, 'data-type', type); attr(el, 'data-depth', row.depth || null);
    attr(el, 'data-tone', wrong ? 'bad' : tool ? (end ? 'ok' : 'run') : type);
    row.ticking = tool && !end;
    if (wide) {
      const [from, to] = axis, x = t => Math.max(0, Math.min(100, 100 * (t - from) / Math.max(1, to - from))), a = x(e.created_at), b = x(end ? end.created_at : tool ? Date.now() : e.created_at);
      attr(lane.firstChild, 'd', `M${a.toFixed(2)} 5H${Math.max(a + 0.4, b).toFixed(2)}`);
    }
    if (!tool) return words(p, wording(e));
    const [state, title, what, tick] = d.firstChild.children, s = ((end ? end.created_at : Date.now()) - e.created_at) / 1e3;
    text(state, wrong ? 'Error' : end ? 'done' : 'runs');
    text(title, safe(e.tool_name || 'tool', 60)); text(what, brief(e.tool_input || e.tool_output));
    text(tick, end ? took(s) : dur(s));
    if (d.row !== row || d.v !== row.v) { d.row = row; d.v = row.v; d.open = !!row.open; unfold(d); }
  }

  /** The turns and errors of what is loaded. */
  function outline() {
    const found = [], { rows } = run;
    let t, wrong = 0;
    rows.forEach((r, i) => {
      const { e } = r, end = endOf(r);
      if (!r.depth && (!t || (e.turn_num && e.turn_num !== t.n))) found.push(t = { i: rows.base + i, e, n: e.turn_num || 1, start: e.created_at, end: e.created_at, cost: 0, errors: 0 });
      if (!t) return;
      t.end = Math.max(t.end, e.created_at, end ? end.created_at : 0); t.cost += e.cost || 0;
      if (bad(e, end)) { t.errors++; wrong++; }
    });
    const k = state.tasks.get(id);
    axis = rows.length ? [rows[0].e.created_at, k?.status === 'running' ? Date.now() : Math.max(rows.at(-1).e.created_at, k?.updated_at || 0)] : axis;
    text(errors, many(wrong, 'error')); errors.disabled = !wrong;
    if (log.was !== (log.was = wide && axis.join())) log.anew = true;
    turns.paint(found, found.findLast?.(t => t.i <= (log.at ?? 1e9))?.i);
  }

  function jump(way) {
    const { rows } = run, wrong = i => bad(rows[i].e, endOf(rows[i]));
    let i = (log.at ?? (way > 0 ? rows.base - 1 : rows.base + rows.length)) - rows.base;
    for (let n = rows.length; n--;) {
      i = (i + way + rows.length) % rows.length;
      if (wrong(i)) return log.show(rows.base + i);
    }
  }
  const step = way => { const i = list.items.findIndex(k => k.task_id === id) + way, k = list.items[i]; if (id && k) location.hash = '#/tasks/' + enc(k.task_id) + tail; };

  return {
    root, title: 'Tasks',
    keys: {
      f: () => log.tail(), w: () => fall.click(), e: () => id && jump(1), E: () => id && jump(-1), '[': () => step(-1), ']': () => step(1), m: () => id && ask.click(),
    },
    route([task, event], params) {
      id = task; goal = +event || 0;
      q = params.get('q') || ''; tail = query({ q });
      by = /sort:(\w+)/.exec(q)?.[1];
      test = filter(q.replace(/sort:\w*/, ''));
      if (search !== document.activeElement) search.value = q;
      attr(root, 'data-detail', id);
      attr(back, 'href', '#/tasks' + tail);
      const plain = q.replace(/\s*status:\S+/g, '').trim();
      chips.set(['All', 'Running', 'Failed', 'Completed'].map((w, i) => {
        const s = i ? 'status:' + w.toLowerCase() : '';
        return [w, '#/tasks' + query({ q: (s + ' ' + plain).trim() }), s ? q.includes(s) : q === plain];
      }));
    },
    paint(dirty) {
      if (dirty.has('all')) run = id && openTask(id);
      const items = order(dirty, !dirty.has('all') && list.held()), k = state.tasks.get(id), any = state.tasks.size;
      hide(table, id); hide(detail, !id);
      if (!id) {
        list.paint(items);
        hide(empty, !state.loaded || any); hide(none, items.length || !any);
        text(sum, any ? `${items.filter(t => t.status === 'running').length} running of ${items.length}${state.older?.tasks.next ? '+' : ''}` : '');
        return;
      }
      list.items = items;
      tell(hint, run.error || (run.loading ? 'Loading…' : run.rows.length ? '' : 'No steps yet.'));
      text(title, name(k || { task_id: id })); title.title = k?.directive || '';
      setTag(tag, k?.status);
      text(facts, k ? [who(k.agent_id) + (k.workspace ? ' in ' + line(k.workspace, 80) : ''), line(k.model, 40), k.cost && money(k.cost), many(k.turns, 'turn'), num(k.tokens_in) + ' in', num(k.tokens_out) + ' out', dur(length(k))].filter(Boolean).join(' · ') : '');
      attr(ask, 'href', '#/inbox/human/new?to=' + enc(k?.agent_id || '')); hide(ask, !k?.agent_id);
      attr(root, 'data-fall', wide ? '' : null); attr(fall, 'aria-pressed', !!wide); attr(follow, 'aria-pressed', log.follow);
      if (dirty.has('all') || performance.now() - outlined > 250) { outlined = performance.now(); outline(); }
      log.paint(run.rows);
      if (goal && !run.loading && run.rows.length) {
        const { rows } = run, i = rows.findIndex(r => r.e.id >= goal || r.result?.id === goal);
        if (run.first <= goal || rows.all) { log.show(rows.base + (i < 0 ? rows.length : i)); goal = 0; } else olderEvents(run);
      }
    },
  };
}
