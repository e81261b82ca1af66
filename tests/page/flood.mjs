// Thousands of events a second: the page stays smooth, small, and true to the file.

import { browser, hub, sql, writer, insert, ok, done, say, until, SOAK } from './support.mjs';

const h = await hub(), b = await browser(), w = writer(), seconds = SOAK ? 30 : 8;
await b.go(h.url);
ok(await b.live(), 'live');
const KINDS = [
  i => insert('messages', { thread_id: 'flood-' + i % 7, from_id: 'agent-' + i % 23, content: 'message number ' + i }),
  i => insert('task_stream', { task_id: 'task-' + i % 11, agent_id: 'agent-' + i % 11, stream_type: 'text', turn_num: i % 40 + 1, text: 'step ' + i }),
  i => insert('task_stream', { task_id: 'task-0', agent_id: 'agent-0', stream_type: 'tool_use', tool_name: 'Bash', tool_input: '{"command":"make"}', call_id: 'c' + i }),
  i => insert('task_stream', { task_id: 'task-0', agent_id: 'agent-0', stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'ok', call_id: 'c' + (i - 1) }),
];
let serial = 0;
const make = () => { serial++; return KINDS[serial % 8 < 5 ? 0 : serial % 8 - 4](serial); };

/** The page and the file agree, thread by thread and row by row. */
async function exact(when) {
  const rows = sql('SELECT id, last_seq FROM threads ORDER BY id').split('\n').join();
  ok(await until(async () => await b.state(`[...s.threads.values()].map(t => t.id + '|' + t.last_seq).sort().join()`) === rows, 15000), when + ': every thread ends at the file’s last number');
  const last = sql(`SELECT last_seq FROM threads WHERE id = 'flood-1'`), log = () => b.state(`(l => l ? [l.rows.base, l.rows.base + l.rows.length - 1, l.rows.every((r, i) => r.e.message_seq === l.rows.base + i)].join() : '')(s.logs.get('flood-1'))`);
  ok(await until(async () => /^\d+,(\d+),true$/.exec(await log())?.[1] === last, 15000), when + ': the open thread has no gap and ends where the file does', await log());
  const run = await b.until(`import('./store.js').then(({ state: s }) => { const r = s.runs.get('task-0'); return !r || r.last === ${sql(`SELECT max(id) FROM task_stream WHERE task_id = 'task-0'`) || 0}; })`, 15000);
  ok(run, when + ': the open task ends at the file’s last row');
  const ids = await b.state(`(r => r ? r.rows.flatMap(x => x.result ? [x.e.id, x.result.id] : [x.e.id]).sort((a, b) => a - b) : [])(s.runs.get('task-0'))`);
  if (ids.length) ok(ids.join() === sql(`SELECT id FROM task_stream WHERE task_id = 'task-0' AND id >= ${ids[0]} ORDER BY id`).split('\n').join(), when + ': the open task has every row once', ids.length);
}

async function under(route, rate, secs) {
  await b.view(route);
  await b.ev(`(() => { window.F = []; window.L = []; let p = performance.now(); requestAnimationFrame(function f(t) { if (!window.F) return; F.push(t - p); p = t; requestAnimationFrame(f); });
    window.O?.disconnect(); window.O = new PerformanceObserver(l => L.push(...l.getEntries().map(e => e.duration))); O.observe({ type: 'longtask' }); })()`);
  let nodes = 0, on = true;
  const watch = (async () => { while (on) { nodes = Math.max(nodes, await b.nodes()); await new Promise(r => setTimeout(r, 700)); } })();
  const took = await w.flood(rate, secs, make);
  on = false;
  await watch;
  const r = await b.ev(`(() => { const f = F.slice(5).sort((a, b) => a - b); window.F = null; return { p95: f[Math.floor(f.length * .95)], long: Math.round(Math.max(0, ...L)), frames: f.length }; })()`), heap = await b.heap();
  say(`${route} at ${rate}/s for ${took.toFixed(1)} s: p95 frame ${r.p95.toFixed(1)} ms (aim 25), longest task ${r.long} ms (aim 100), ${nodes} nodes, heap ${heap.toFixed(1)} MB`);
  ok(nodes <= 2000, route + ': at most 2,000 nodes', nodes);
  ok(heap <= 80, route + ': at most 80 MB of heap');
  ok(r.p95 < 250 && r.long < 2500 && r.frames > 10, route + ': it keeps painting, on any machine');
}

await under('threads/flood-1', 2000, seconds);
await exact('2,000 a second in a thread');
await under('tasks/task-0', 2000, SOAK ? seconds : 3);
await under('now', 2000, SOAK ? seconds : 3);
await exact('2,000 a second');
await under('now', 10000, SOAK ? 5 : 2);
await b.view('threads/flood-1');
await exact('10,000 a second');
ok(await until(async () => (await b.ev(`[...document.querySelectorAll('.msg .gut')].at(-1).textContent`)) === sql(`SELECT last_seq FROM threads WHERE id = 'flood-1'`)), 'the last row drawn is the file’s last');
const drawn = await b.ev(`[...document.querySelectorAll('.msg .gut')].map(e => +e.textContent)`);
ok(drawn.length > 20 && drawn.every((n, i) => !i || n === drawn[i - 1] + 1), 'the rows drawn follow one another', drawn.length);
ok(!b.log.some(l => l.startsWith('exception')), 'no exception', b.log.find(l => l.startsWith('exception')));
await w.end();
await h.stop();
await done();
