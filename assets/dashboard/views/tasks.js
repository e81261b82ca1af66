// Tasks: a table of all, filtered and sorted by what stands in the URL, and one task's steps
// as they come. A call and its result are one row (the store joins them), a running call's
// clock ticks, and with the waterfall on every step shows its place on the task's time axis.

import { h, text, hide, attr, picture, List, Log } from '../dom.js';
import { state, ordering, touch, again, KEPT } from '../store.js';
import { openLog, loadLog, olderRows, newer, latest, older, seek, everyEvent, notice } from '../sync.js';
import { Empty, Mark, setMark, Tag, setTag, setTime, who, Chips, tell, save, button } from '../parts.js';
import { num, money, hms, clock, line, brief, pretty, safe, dur, took, base, many, url, query, write } from '../format.js';
import { words } from '../words.js';
import { kept, keep } from '../api.js';

const name = k => line(k.directive) || safe(k.task_id, 80),
  failed = s => /^(failed|error)$/.test(s),
  going = k => /^(running|waiting)$/.test(k?.status);
const length = k => ((going(k) ? Date.now() : k.updated_at) - k.started_at) / 1e3,
  tokens = k => (k.tokens_in || 0) + (k.tokens_out || 0);

// ---- the table ----

const SORTS = { turns: k => k.turns, tokens, cost: k => k.cost, took: length, errors: k => k.errors };
/** What stands after name and state: head, words, and what sorts by it. */
const CELLS = [
  ['Agent', k => who(k.agent_id)],
  ['Folder', k => base(k.workspace)],
  ['Turns', k => num(k.turns), 'turns'],
  ['Tokens', k => (tokens(k) ? num(tokens(k)) : '–'), 'tokens'],
  ['Cost', k => (k.cost ? money(k.cost) : '–'), 'cost'],
  ['Took', k => dur(length(k)), 'took'],
  ['Last', null, '']
];
const UNITS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** status:failed agent:planner cost:>1 since:2h errors:>0 sort:cost, and words: { test, by, wrong }. */
function filter(q) {
  const it = { wrong: '' },
    tests = (q.match(/\S+/g) || []).map(token => {
      const [, key, op, value] = /^(\w+):([<>]?)(.*)$/.exec(token) || [],
        low = (value ?? token).toLowerCase();
      const has = f => k =>
          String(k[f] || '')
            .toLowerCase()
            .includes(low),
        time = /^(\d+)([smhd])$/.exec(low),
        f = { agent: 'agent_id', status: key, workspace: key, model: key }[key];
      if (f) return has(f);
      if (!key) return k => ['directive', 'task_id', 'agent_id'].some(f => has(f)(k));
      if (key === 'since' && time) return k => k.updated_at > Date.now() - time[1] * UNITS[time[2]];
      if (key === 'sort' && SORTS[low]) {
        it.by = low;
        return () => true;
      }
      if (key !== 'sort' && SORTS[key] && low && low == +low)
        return k => {
          const n = SORTS[key](k) || 0;
          return op === '>' ? n > low : op === '<' ? n < low : n == low;
        };
      it.wrong = `“${line(token, 40)}” means nothing here; there is status: agent: workspace: model: since:2h cost:>1 sort:cost and ${Object.keys(SORTS)}`;
      return () => true;
    });
  it.test = k => tests.every(t => t(k));
  return it;
}

function Table() {
  let q = '',
    tail = '',
    how = filter('');
  const order = ordering('tasks', () => {
    const by = SORTS[how.by] || going;
    return [...state.tasks.values()].filter(how.test).sort((a, b) => (by(b) || 0) - (by(a) || 0) || b.updated_at - a.updated_at);
  });
  const search = h('input', {
    type: 'search',
    'aria-label': 'Filter tasks',
    placeholder: 'status:failed cost:>1 words',
    spellcheck: 'false',
    oninput: () => location.replace('#/tasks' + query({ q: search.value }))
  });
  const chips = Chips('State'),
    sum = h('p.facts'),
    none = h('p.hint'),
    empty = Empty('No task yet', 'A task is a stream of steps.', 'run', 'demo');
  const sort = by => {
    location.hash = '#/tasks' + query({ q: (q.replace(/\s*sort:\S*/g, '') + (by && ' sort:' + by)).trim() });
  };
  const heads = CELLS.map(([label, , by]) => (by == null ? h('span', label) : button(label, () => sort(by))));
  const list = new List({
    label: 'Tasks',
    height: 40,
    key: k => k.task_id,
    end: () => older('tasks'),
    make: () => h('a.trow', h('span', Mark(), h('b')), Tag(), ...CELLS.slice(0, -1).map(() => h('span')), h('time')),
    fill(a, k) {
      const [first, tag, ...rest] = a.children,
        time = rest.pop();
      attr(a, 'href', url('tasks', k.task_id) + tail);
      setMark(first.firstChild, k.agent_id || k.task_id);
      text(first.lastChild, name(k));
      setTag(tag, k.status);
      rest.forEach((e, i) => text(e, CELLS[i][1](k)));
      setTime(time, k.updated_at);
    }
  });
  const top = h('div.trow heads', h('span', 'Task'), h('span', 'State'), ...heads);
  const root = h('section.table', h('header.head', h('h1', 'Tasks'), sum, chips, search), empty, none, top, list.root);
  return {
    root,
    list,
    route(to, params) {
      q = params.get('q') || '';
      tail = to;
      how = filter(q);
      if (search !== document.activeElement) search.value = q;
      heads.forEach((e, i) => attr(e, 'aria-pressed', CELLS[i][2] == null ? null : String((how.by || '') === CELLS[i][2])));
      const plain = q.replace(/\s*status:\S+/g, '').trim();
      chips.set(
        ['All', 'Running', 'Failed', 'Completed'].map((w, i) => {
          const s = i ? 'status:' + w.toLowerCase() : '';
          return [w, '#/tasks' + query({ q: (s + ' ' + plain).trim() }), s ? q.includes(s) : q === plain];
        })
      );
    },
    paint(dirty, shown) {
      const items = order(dirty, !dirty.has('all') && list.held()),
        any = state.tasks.size;
      if (!shown) {
        list.items = items;
        return;
      }
      const left = q && state.loaded && seek('tasks') && any >= KEPT;
      list.paint(items, null);
      empty.show(state.loaded && !any);
      hide(top, !any);
      tell(none, how.wrong || (any && !items.length ? 'No task fits this filter.' : ''));
      text(
        sum,
        any
          ? `${items.filter(t => t.status === 'running').length} running of ${items.length}` +
              (left ? ` in the newest ${num(any)}` : state.older?.tasks.next ? '+' : '')
          : ''
      );
    }
  };
}

// ---- one step ----

const bad = (e, end) => e.stream_type === 'error' || (!!end && (!!end.error_msg || failed(end.status)));
const endOf = ({ e, result }) => result || (e.stream_type === 'tool_result' && e);

/** Input and output are made when someone looks: most steps are never opened. */
function unfold(d) {
  d.querySelector('.io')?.remove();
  if (!d.open) return;
  const { e, result } = d.row,
    end = result || e,
    io = h('div.io');
  for (const [label, s] of [
    ['Input', e.tool_input],
    ['Output', end.tool_output],
    ['Error', end.error_msg]
  ])
    if (s) io.append(h('h4', label), h('pre', { tabindex: 0 }, pretty(s)));
  if (!io.firstChild) io.append(h('p', 'Nothing was recorded.'));
  d.append(io);
}
const make = () =>
  h(
    'div.step',
    h('a.gut'),
    h(
      'details',
      {
        ontoggle() {
          if (this.row && !this.row.open === this.open) {
            this.row.open = this.open;
            unfold(this);
          }
        }
      },
      h('summary', h('i'), h('b'), h('span.what'), h('span.tick'))
    ),
    h('div.text', { dir: 'auto' }),
    picture('lane', '100 10', '', {})
  );

function wording(e) {
  const sum = e.tokens_in || e.tokens_out ? ` · ${num(e.tokens_in)} in · ${num(e.tokens_out)} out${e.cost ? ' · ' + money(e.cost) : ''}` : '',
    turn = 'Turn ' + (e.turn_num || '');
  switch (e.stream_type) {
    case 'turn_start':
      return turn;
    case 'turn_end':
      return turn + ' ended' + sum;
    case 'error':
      return 'Error: ' + (e.error_msg || e.text || 'no reason given');
    case 'status':
      return e.status + sum + (e.text ? ': ' + e.text : '');
    default:
      return e.text || e.status || e.stream_type;
  }
}

/** The steps as a document; no output can end its own fence. */
const markdown = (k, list) =>
  `# ${name(k)}\n\n` +
  list
    .map(e => {
      const tool = e.tool_input || e.tool_output,
        fence = tool && '~'.repeat(Math.max(3, ...(tool.match(/~+/g) || []).map(s => s.length)) + 1);
      return e.stream_type === 'turn_start'
        ? `## ${wording(e)}\n`
        : tool
          ? `**${e.tool_name}** ${e.error_msg}\n\n${fence}\n${tool}\n${fence}\n`
          : wording(e) + '\n';
    })
    .join('\n');
const SAVES = { jsonl: (k, list) => list.map(e => JSON.stringify(e) + '\n').join(''), md: markdown };
async function exported(id, ending) {
  try {
    const all = [];
    for await (const e of everyEvent(id)) all.push(e);
    save(id + '.' + ending, SAVES[ending](state.tasks.get(id) || { task_id: id }, all));
  } catch (e) {
    notice('Not exported: ' + e.message);
  }
}

function Detail() {
  let id,
    run,
    k,
    goal = 0,
    hunt = 0,
    axis = [0, 1],
    outlined = 0,
    tail = '',
    wide = !!kept('fall');
  const title = h('h1', { tabindex: -1 }),
    tag = Tag(),
    facts = h('p.facts'),
    hint = h('p.hint'),
    back = h('a.back', '← Tasks'),
    ask = h('a.go', 'Message');
  const errors = button('', () => jump(1)),
    fall = button('Waterfall', () => {
      keep('fall', (wide = !wide));
      touch('all');
    }),
    follow = button('Follow', () => log.tail());
  const saves = [
    ['JSONL', 'jsonl'],
    ['Markdown', 'md']
  ].map(([label, ending]) => button(label, () => exported(id, ending)));
  const top = h('header.head', back, title, tag, facts, h('p.bar', errors, fall, follow, ...saves, ask)),
    span = h('p.axis', h('span'), h('span'));
  const log = new Log({
    label: 'Steps',
    live: 'off',
    make,
    fill,
    older: olderRows,
    newer,
    latest: loadLog
  });
  const turns = new List({
    label: 'Turns',
    height: 34,
    key: t => t.i,
    make: () => h('a', h('b'), h('span.tick')),
    fill(a, t) {
      const [label, tick] = a.children;
      attr(a, 'href', url('tasks', id, t.e.id) + tail);
      text(label, 'Turn ' + t.n);
      attr(a, 'data-tone', t.errors ? 'bad' : 'run');
      text(tick, t.errors ? many(t.errors, 'error') : [took((t.end - t.start) / 1e3), t.cost && money(t.cost)].filter(Boolean).join(' · '));
    }
  });
  const root = h(
    'section.detail',
    top,
    hint,
    h('div.run', h('section.outline', { 'aria-label': 'Turns' }, turns.root), h('div.steps', span, log.root))
  );

  function fill(el, row, prev) {
    const { e } = row,
      [time, d, p, lane] = el.children,
      type = e.stream_type,
      tool = type.startsWith('tool_'),
      at = hms(e.created_at),
      end = endOf(row),
      wrong = bad(e, end),
      open = tool && !end;
    text(time, prev && hms(prev.e.created_at) === at ? '·' : at);
    attr(time, 'href', url('tasks', id, e.id) + tail);
    attr(time, 'aria-label', 'Link to the step at ' + at);
    hide(d, !tool);
    hide(p, tool);
    attr(el, 'data-type', type);
    attr(el, 'data-depth', row.depth || null);
    el.style.setProperty('--in', row.depth * 1.4 + 'rem');
    // A call without a result runs as long as its task does.
    row.ticking = open && (!k || going(k));
    attr(el, 'data-tone', wrong ? 'bad' : tool ? (end ? 'ok' : row.ticking ? 'run' : 'none') : type);
    const till = end ? end.created_at : !open ? e.created_at : row.ticking ? Date.now() : axis[1];
    if (wide) {
      const x = t => Math.max(0, Math.min(100, (100 * (t - axis[0])) / Math.max(1, axis[1] - axis[0]))),
        a = x(e.created_at);
      attr(lane.firstChild, 'd', `M${a.toFixed(2)} 5H${Math.max(a + 0.4, x(till)).toFixed(2)}`);
    }
    if (!tool) return words(p, wording(e));
    const [state, title, what, tick] = d.firstChild.children,
      s = (till - e.created_at) / 1e3;
    text(state, wrong ? 'Error' : end ? 'done' : row.ticking ? 'runs' : 'ended');
    text(title, line(e.tool_name || 'tool', 60));
    text(what, brief(e.tool_input || e.tool_output));
    text(tick, end ? took(s) : row.ticking ? dur(s) : 'no result');
    if (d.row !== row || d.v !== row.v) {
      d.row = row;
      d.v = row.v;
      d.open = !!row.open;
      unfold(d);
    }
  }

  /** The turns and errors of what is loaded. */
  function outline() {
    const found = [],
      { rows } = run;
    let t,
      wrong = 0;
    rows.forEach((r, i) => {
      const { e } = r,
        end = endOf(r);
      if (!r.depth && (!t || (e.turn_num && e.turn_num !== t.n)))
        found.push((t = { i: rows.base + i, e, n: e.turn_num || 1, start: e.created_at, end: e.created_at, cost: 0, errors: 0 }));
      if (!t) return;
      t.end = Math.max(t.end, e.created_at, end ? end.created_at : 0);
      t.cost += e.cost || 0;
      if (bad(e, end)) {
        t.errors++;
        wrong++;
      }
    });
    if (rows.length)
      axis = [rows[0].e.created_at, going(k) && !rows.apart ? Date.now() : Math.max(rows.at(-1).e.created_at, (!rows.apart && k?.updated_at) || 0)];
    // More of them may stand on pages not read yet: the hub has counted.
    wrong = Math.max(wrong, k?.errors || 0);
    text(errors, many(wrong, 'error'));
    errors.disabled = !wrong;
    axis.forEach((t, i) => text(span.children[i], clock(t)));
    if (log.was !== (log.was = k?.status + (wide && axis.join()))) log.anew = true;
    turns.paint(found, found.findLast?.(t => t.i <= (log.at ?? 1e9))?.i ?? null);
  }

  /** To the next error that way; backwards through pages not read yet, forwards around. */
  function jump(way) {
    const { rows } = run,
      n = rows.length;
    let i = (log.at ?? (way > 0 ? rows.base - 1 : rows.base + n)) - rows.base;
    hunt = 0;
    for (let left = n; left--;) {
      i += way;
      if (i < 0 && !rows.all) break;
      i = (i + n) % n;
      if (bad(rows[i].e, endOf(rows[i]))) return log.show(rows.base + i);
    }
    if (rows.all) return;
    hunt = way;
    olderRows(run);
  }

  return {
    root,
    log,
    jump,
    get name() {
      return name(k || { task_id: id });
    },
    fall,
    ask,
    route(to, task, event) {
      tail = to;
      id = task;
      goal = +event || 0;
      hunt = 0;
      if (!goal) latest('tasks', id);
      attr(back, 'href', '#/tasks' + tail);
    },
    paint(dirty) {
      if (dirty.has('all')) run = openLog('tasks', id);
      k = state.tasks.get(id);
      tell(hint, run.error || (run.loading ? 'Loading…' : run.rows.length ? '' : 'No steps yet.'));
      text(title, name(k || { task_id: id }));
      title.title = safe(k?.directive, 600);
      setTag(tag, k?.status);
      text(
        facts,
        k
          ? [
              who(k.agent_id) + (k.workspace ? ' in ' + line(k.workspace, 80) : ''),
              line(k.model, 40),
              k.cost && money(k.cost),
              many(k.turns, 'turn'),
              tokens(k) && num(k.tokens_in) + ' in',
              tokens(k) && num(k.tokens_out) + ' out',
              dur(length(k))
            ]
              .filter(Boolean)
              .join(' · ')
          : ''
      );
      attr(ask, 'href', write(k?.agent_id));
      hide(ask, !k?.agent_id);
      attr(root, 'data-fall', wide);
      attr(fall, 'aria-pressed', String(wide));
      attr(follow, 'aria-pressed', String(log.follow));
      if (dirty.has('all') || performance.now() - outlined > 250) {
        outlined = performance.now();
        outline();
      } else again();
      log.paint(run);
      if (run.loading || !run.rows.length) return;
      if (goal && !run.busy) log.seek(goal) ? (goal = 0) : loadLog(run, goal + 1);
      if (hunt && !run.rows.paging) jump(hunt);
    }
  };
}

export default function tasks() {
  let id;
  const table = Table(),
    one = Detail(),
    root = h('div.tasks', table.root, one.root);
  const step = way => {
    const all = table.list.items,
      next = all[all.findIndex(k => k.task_id === id) + way];
    if (id && next) location.hash = url('tasks', next.task_id) + location.hash.replace(/^[^?]*/, '');
  };
  return {
    root,
    get title() {
      return id ? one.name : 'Tasks';
    },
    keys: {
      f: () => one.log.tail(),
      w: () => one.fall.click(),
      e: () => id && one.jump(1),
      E: () => id && one.jump(-1),
      '[': () => step(-1),
      ']': () => step(1),
      m: () => id && one.ask.click()
    },
    route([task, event], params) {
      const tail = query({ q: params.get('q') });
      id = task;
      table.route(tail, params);
      if (id) one.route(tail, id, event);
      attr(root, 'data-detail', id);
      hide(table.root, id);
      hide(one.root, !id);
    },
    paint(dirty) {
      table.paint(dirty, !id);
      if (id) one.paint(dirty);
    }
  };
}
