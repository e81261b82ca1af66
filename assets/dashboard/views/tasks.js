// Tasks: every task's summary, and one task's steps as they come. A tool's call and its
// result are one row (the store joins them); a running call's clock ticks.

import { h, text, hide, attr, Log } from '../dom.js';
import { state, ordering } from '../store.js';
import { openTask, olderEvents } from '../sync.js';
import { Rows, Split, Empty, Tag, setTag, who } from '../parts.js';
import { num, money, clock, line, brief, pretty, safe, dur } from '../format.js';
import { enc } from '../api.js';

const build = () => [...state.tasks.values()].sort((a, b) => (b.status === 'running') - (a.status === 'running') || b.updated_at - a.updated_at);
const used = k => `${k.cost ? money(k.cost) + ' · ' : ''}${num(k.turns)} turns · ${num(k.tokens_in)} in · ${num(k.tokens_out)} out`;
const name = k => line(k.directive) || safe(k.task_id, 80);

/** Input and output are made when someone looks: most steps are never opened. */
function unfold(d) {
  d.querySelector('.io')?.remove();
  if (!d.open) return;
  const { e, result } = d.row, end = result || e, io = h('div.io');
  for (const [label, s] of [['Input', e.tool_input], ['Output', end.tool_output], ['Error', end.error_msg]]) if (s) io.append(h('h4', label), h('pre', { tabindex: 0 }, pretty(s)));
  if (!io.firstChild) io.append(h('p', 'Nothing was recorded.'));
  d.append(io);
}

const make = () => h('div.step', h('time.gut'),
  h('details', { ontoggle() { if (this.row && !this.row.open === this.open) { this.row.open = this.open; unfold(this); } } },
    h('summary', h('i'), h('b'), h('span.what'), h('span.tick'))), h('p', { dir: 'auto' }));

function words(e) {
  const sum = e.tokens_in || e.tokens_out ? ` · ${num(e.tokens_in)} in · ${num(e.tokens_out)} out${e.cost ? ' · ' + money(e.cost) : ''}` : '', turn = 'Turn ' + (e.turn_num || '');
  switch (e.stream_type) {
    case 'turn_start': return turn;
    case 'turn_end': return turn + ' ended' + sum;
    case 'error': return 'Error: ' + safe(e.error_msg || e.text);
    case 'status': return safe(e.status, 40) + sum + (e.text ? ': ' + safe(e.text) : '');
    default: return safe(e.text || e.status || e.stream_type);
  }
}

function fill(el, row, prev) {
  const { e, result } = row, [time, d, p] = el.children, type = e.stream_type, tool = type.startsWith('tool_'), at = clock(e.created_at);
  text(time, prev && clock(prev.e.created_at) === at ? '' : at);
  hide(d, !tool); hide(p, tool);
  attr(el, 'data-type', type);
  if (!tool) { attr(el, 'data-tone', type); text(p, words(e)); return; }
  const [state, title, what, tick] = d.firstChild.children, end = result || (type === 'tool_result' && e), bad = end && (end.error_msg || /^(failed|error)$/.test(end.status));
  const s = ((end ? end.created_at : Date.now()) - e.created_at) / 1e3;
  row.ticking = !end;
  attr(el, 'data-tone', bad ? 'bad' : end ? 'ok' : 'run');
  text(state, bad ? 'failed' : end ? 'done' : 'runs');
  text(title, safe(e.tool_name || 'tool', 60)); text(what, brief(e.tool_input || e.tool_output));
  text(tick, !end ? dur(s) : s < 0.05 ? '' : s < 10 ? s.toFixed(1) + ' s' : dur(s));
  if (d.row !== row || d.v !== row.v) { d.row = row; d.v = row.v; d.open = !!row.open; unfold(d); }
}

export default function tasks() {
  let id, run;
  const order = ordering('tasks', build);
  const list = Rows('Tasks, running first', k => k.task_id, k => '#/tasks/' + enc(k.task_id),
    k => [k.agent_id || k.task_id, name(k), k.status, who(k.agent_id) + ' · ' + used(k), k.updated_at]);
  const empty = Empty('No task yet', 'A task is a stream of steps: turns, text, tool calls and their results. Any program can write one, a row at a time.', 'sql');
  const sum = h('p.facts'), title = h('h2'), tag = Tag(), facts = h('p.facts'), hint = h('p.hint');
  const top = h('header.head', h('a.back', { href: '#/tasks' }, '← Tasks'), title, tag, facts);
  const log = new Log({ label: 'Steps', live: 'off', make, fill, older: () => olderEvents(run) });
  const root = Split('tasks', [h('header.head', h('h1', 'Tasks'), sum), empty, list.root], [top, hint, log.root]);

  return {
    root, title: 'Tasks',
    route([task]) { id = task; attr(root, 'data-detail', id); },
    paint(dirty) {
      if (dirty.has('all')) run = id && openTask(id);
      const items = order(dirty, list.held()), k = state.tasks.get(id);
      list.paint(items, id);
      hide(empty, !state.loaded || items.length);
      hide(list.root, !items.length);
      text(sum, items.length ? `${items.filter(t => t.status === 'running').length} running of ${items.length}` : '');
      hide(top, !id); hide(log.root, !id);
      text(hint, !id ? (items.length ? 'Choose a task to see its steps.' : '') : run.error || (run.loading ? 'Loading…' : run.rows.length ? '' : 'No steps yet.'));
      hide(hint, !hint.textContent);
      if (!id) return;
      text(title, name(k || { task_id: id })); title.title = k?.directive || '';
      setTag(tag, k?.status);
      text(facts, k ? `${who(k.agent_id)}${k.workspace ? ' in ' + line(k.workspace, 80) : ''} · ${used(k)} · ${dur((k.updated_at - k.started_at) / 1e3)}` : '');
      log.paint(run.rows);
    },
  };
}
