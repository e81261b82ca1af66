// Thousands of events a second: the page stays smooth, small, and true to the file.

import { browser, hub, sql, writer, ok, done, say, until, SOAK } from './support.mjs';

const h = await hub(),
    b = await browser(),
    w = writer(),
    long = SOAK ? 30 : 8,
    short = SOAK ? 30 : 3,
    storm = 5;
await b.go(h.url);
ok(await b.live(), 'live');

// Eight rows of a turn of `i`, of every kind; a call's result follows it.
const KINDS = [
    ['messages(thread_id, from_id, content)', `'flood-' || (i % 7), 'agent-' || (i % 23), 'message number ' || i`, 'i % 8 < 4'],
    [
        'task_stream(task_id, agent_id, stream_type, turn_num, text)',
        `'task-' || (i % 11), 'agent-' || (i % 11), 'text', i % 40 + 1, 'step ' || i`,
        'i % 8 = 4'
    ],
    [
        'task_stream(task_id, agent_id, stream_type, tool_name, tool_input, call_id)',
        `'task-0', 'agent-0', 'tool_use', 'Bash', '{"command":"make"}', 'c' || i`,
        'i % 8 = 5'
    ],
    [
        'task_stream(task_id, agent_id, stream_type, tool_name, tool_output, call_id)',
        `'task-0', 'agent-0', 'tool_result', 'Bash', 'ok', 'c' || (i - 1)`,
        'i % 8 = 6'
    ],
    ['inbox_messages(from_agent, to_inbox, payload)', `'agent-' || (i % 23), 'agent-' || (i % 5), 'mail ' || i`, 'i % 16 = 7'],
    ['telemetry(instance_id, agent_id, turns, tokens_in)', `'run-' || (i % 23), 'agent-' || (i % 23), i, i * 10`, 'i % 16 = 15']
];
/** Rows `from` to `to` in one transaction, a statement for each kind. */
const rows = (from, to) =>
    'BEGIN IMMEDIATE;\n' +
    KINDS.map(
        ([into, what, when]) =>
            `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to - 1}) INSERT INTO ${into} SELECT ${what} FROM n WHERE ${when};\n`
    ).join('') +
    'COMMIT;\n';

const same = async (what, page, file, ms = 60000) => ok(await until(async () => (await b.state(page)) === sql(file).split('\n').join(), ms), what);
/** The page and the file agree, row by row where one is open, in figures elsewhere. */
async function exact(when) {
    await same(
        when + ': every thread ends at the file’s last number',
        `[...s.threads.values()].map(t => t.id + '|' + t.last_seq).sort().join()`,
        'SELECT id, last_seq FROM threads ORDER BY id'
    );
    await same(when + ': every agent is there', `[...s.agents.keys()].sort().join()`, 'SELECT id FROM agents ORDER BY id');
    await same(
        when + ': every instance’s last total',
        `[...s.telemetry.values()].map(t => t.instance_id + '|' + t.tokens_in).sort().join()`,
        'SELECT instance_id, tokens_in FROM telemetry WHERE id IN (SELECT max(id) FROM telemetry GROUP BY instance_id) ORDER BY instance_id || char(124) || tokens_in'
    );
    await same(
        when + ': every mailbox’s unread',
        `[...s.boxes.values()].filter(b => /^agent/.test(b.name)).map(b => b.name + '|' + b.unread).sort().join()`,
        `SELECT to_inbox, count(*) FROM inbox_messages WHERE status = 'unread' GROUP BY 1 ORDER BY 1`
    );
    await same(
        when + ': every task ends at its last row',
        `[...s.tasks.values()].map(k => k.task_id + '|' + k.last_id).sort().join()`,
        'SELECT task_id, max(id) FROM task_stream GROUP BY 1 ORDER BY task_id || char(124) || max(id)'
    );
    const last = sql(`SELECT last_seq FROM threads WHERE id = 'flood-1'`),
        log = () =>
            b.state(
                `(l => l ? [l.first, l.last, l.rows.every((r, i) => r.e.message_seq === l.first + i)].join() : '')(s.logs.get('threads/flood-1'))`
            );
    ok(
        await until(async () => /^\d+,(\d+),true$/.exec(await log())?.[1] === last, 60000),
        when + ': the open thread has no gap and ends where the file does',
        await log()
    );
    const run = await b.until(
        `import('./store.js').then(({ state: s }) => { const r = s.logs.get('tasks/task-0'); return !r || r.last === ${sql(`SELECT max(id) FROM task_stream WHERE task_id = 'task-0'`) || 0}; })`,
        60000
    );
    ok(run, when + ': the open task ends at the file’s last row');
    const ids = await b.state(
        `(r => r ? r.rows.flatMap(x => x.result ? [x.e.id, x.result.id] : [x.e.id]).sort((a, b) => a - b) : [])(s.logs.get('tasks/task-0'))`
    );
    if (!ids.length) return;
    // A result stands in the row of its call, and was let go with it or came before it.
    const from = `FROM task_stream WHERE task_id = 'task-0' AND`,
        list = text => sql(text).split('\n').map(Number);
    const file = list(`SELECT id ${from} id >= ${ids[0]} ORDER BY id`),
        older = new Set(
            list(`SELECT id ${from} stream_type = 'tool_result' AND call_id IN (SELECT call_id ${from} stream_type = 'tool_use' AND id < ${ids[0]})`)
        );
    const own = l => l.filter(id => !older.has(id)).join();
    ok(own(ids) === own(file) && new Set(ids).size === ids.length, when + ': the open task has every row once', ids.length);
}

async function under(route, rate, secs) {
    await b.view(route);
    const before = await b.heap(),
        first = +sql('SELECT max(seq) FROM changes') || 0;
    await b.ev(`(() => { window.F = []; window.L = []; let p = performance.now(); requestAnimationFrame(function f(t) { if (!window.F) return; F.push(t - p); p = t; requestAnimationFrame(f); });
    window.O?.disconnect(); window.O = new PerformanceObserver(l => L.push(...l.getEntries().map(e => e.duration))); O.observe({ type: 'longtask' }); })()`);
    let nodes = 0,
        on = true;
    const watch = (async () => {
        while (on) {
            nodes = Math.max(nodes, await b.nodes());
            await new Promise(r => setTimeout(r, 700));
        }
    })();
    const took = await w.flood(rate, secs, rows);
    on = false;
    await watch;
    const r = await b.ev(
        `(() => { const f = F.slice(5).sort((a, b) => a - b); window.F = null; return { p95: f[Math.floor(f.length * .95)], long: Math.round(Math.max(0, ...L)), frames: f.length }; })()`
    );
    const heap = await b.heap(),
        reached = Math.round((rate * secs) / took),
        told = +sql('SELECT max(seq) FROM changes') - first;
    say(
        `${route} at ${reached}/s of ${rate}/s for ${took.toFixed(1)} s: p95 frame ${r.p95.toFixed(1)} ms (aim 25), longest task ${r.long} ms (aim 100), ${nodes} nodes, heap ${before.toFixed(1)} to ${heap.toFixed(1)} MB`
    );
    // The writer, the hub and the browser share the machine: a storm is as hard as they leave room for.
    ok(reached >= rate * (rate > 2000 ? 0.3 : 0.8), `${route}: ${rate} a second were written`, reached);
    ok(told >= rate * secs, route + ': and are changes the hub tells of', told);
    ok(nodes <= 2000, route + ': at most 2,000 nodes', nodes);
    ok(heap <= 80 && heap - before <= 30, route + ': at most 80 MB of heap, and flat');
    ok(r.p95 < 250 && r.long < 2500 && r.frames > 10, route + ': it keeps painting, on any machine');
}

await under('threads/flood-1', 2000, long);
await exact('2,000 a second in a thread');
await under('tasks/task-0', 2000, short);
await under('now', 2000, short);
await exact('2,000 a second');
await under('now', 10000, storm);
await b.view('threads/flood-1');
await exact('10,000 a second');
ok(
    await until(
        async () =>
            (await b.ev(`[...document.querySelectorAll('.msg .gut')].at(-1).textContent`)) ===
            sql(`SELECT last_seq FROM threads WHERE id = 'flood-1'`)
    ),
    'the last row drawn is the file’s last'
);
const drawn = await b.ev(`[...document.querySelectorAll('.msg .gut')].map(e => +e.textContent)`);
ok(drawn.length > 20 && drawn.every((n, i) => !i || n === drawn[i - 1] + 1), 'the rows drawn follow one another', drawn.length);
ok(
    !b.log.some(l => l.startsWith('exception')),
    'no exception',
    b.log.find(l => l.startsWith('exception'))
);
await w.end();
await h.stop();
await done();
