// Long lists and long tasks: what is on a page not read yet is found, counted and joined;
// what is being read stays where it is, whatever comes in.

import { browser, hub, sql, insert, transaction, ok, end, say, until } from './support.mjs';

const h = await hub(),
    b = await browser(),
    NOW = Date.now();
const series = (n, into) => sql(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${n}) ${into};`);
const rows = (n, make) => sql(transaction(Array.from({ length: n }, (_, i) => make(i))));
const step = (task_id, more) => insert('task_stream', { task_id, agent_id: 'w', ...more });
const steps = () => b.ev(`[...document.querySelectorAll('.step')].map(e => e.innerText.replace(/\\n/g, ' '))`);

// ---- a thread of 100,000 ----

series(
    100000,
    `INSERT INTO messages(thread_id, from_id, content) SELECT 'big', 'agent-' || (i % 7), 'message number ' || i || ' with some words to make a line' FROM n`
);
await b.go(h.url);
ok(await b.live(), 'live');
let start = Date.now();
await b.view('threads/big');
ok(await b.until(`[...document.querySelectorAll('.msg .gut')].at(-1)?.textContent === '100000'`), 'a thread of 100,000 opens at its end');
say(`in ${Date.now() - start} ms`);
const log = `document.querySelector('.threads .log')`,
    base = `import('./store.js').then(({ state: s }) => s.logs.get('threads/big').first)`;
const reading = () =>
    b.ev(
        `(l => { const top = l.getBoundingClientRect().top; return [...document.querySelectorAll('.msg')].find(e => e.getBoundingClientRect().bottom > top)?.querySelector('.gut').textContent; })(${log})`
    );
start = Date.now();
ok(
    await until(async () => {
        await b.ev(log + '.scrollTop = 0');
        return await b.ev(base + '.then(n => n < 93500)');
    }, 60000),
    'it scrolls up, page after page'
);
say(`6,500 up in ${Date.now() - start} ms`);
await b.ev(log + '.scrollTop = 900');
await b.drawn();
const place = await reading(),
    size = await b.state(`s.logs.get('threads/big').rows.length`);
rows(3, () => insert('messages', { thread_id: 'big', from_id: 'x', content: 'new' }));
// The hub is still telling of the 100,000, one after another.
ok(
    await b.until(`/^3 new/.test(document.querySelector('.threads .jump').textContent)`, 60000),
    'what comes in is counted',
    await b.text('.threads .jump')
);
ok(size > 6000 && (await reading()) === place, 'and what is being read stays in its place', place, await reading());
await b.key('f');
ok(await b.until(`[...document.querySelectorAll('.msg .gut')].at(-1).textContent === '100003'`), 'f follows again, to the last');
start = Date.now();
await b.view('threads/big/17');
ok(await b.until(`document.querySelector('[data-at] .gut')?.textContent === '17'`, 20000), 'a link to message 17 finds it');
ok((await b.state(`s.logs.get('threads/big').rows.length`)) <= 1000, 'without what lies between', await b.state(`s.logs.get('threads/big').rows.length`));
say(`in ${Date.now() - start} ms; ${await b.nodes()} nodes`);
ok(
    await until(async () => {
        await b.ev(`${log}.scrollTop = 1e9`);
        return +(await reading()) > 700;
    }, 20000),
    'from there one scrolls down, too',
    await reading()
);
const gapless = await b.state(`(l => l.rows.every((x, i) => x.e.message_seq === l.first + i))(s.logs.get('threads/big'))`);
ok(gapless, 'none missing on the way');
await b.click(`document.querySelector('.threads .jump')`);
ok(await b.until(`[...document.querySelectorAll('.msg .gut')].at(-1)?.textContent === '100003'`), 'and jumps to the latest');
sql(insert('messages', { thread_id: 'big', from_id: 'x', content: 'live again' }));
ok(await b.until(`[...document.querySelectorAll('.msg .gut')].at(-1)?.textContent === '100004'`), 'where live messages arrive');
ok((await b.ev(`document.title`)) === 'big · agenthub', 'the title names the thread');

await b.view('threads/big/17');
await b.until(`document.querySelector('[data-at] .gut')?.textContent === '17'`, 20000);
const asked = `performance.getEntriesByType('resource').filter(e => e.name.includes('/threads/big/')).length`;
await b.ev(`performance.clearResourceTimings()`);
await b.view('threads/big/999999');
ok(await b.until(`document.querySelector('[data-at] .gut')?.textContent === '100004'`, 20000), 'a link beyond the end leads to the end');
ok((await b.ev(asked)) <= 4, 'and is not asked for again and again', await b.ev(asked));

// One answer that is an error, in the middle of reading on.
await b.view('threads/big/17');
await b.until(`document.querySelector('[data-at] .gut')?.textContent === '17'`, 20000);
await b.ev(
    `{ const real = fetch; window.fetch = (url, how) => { if (!url.includes('from_seq')) return real(url, how); window.fetch = real; return Promise.resolve(new Response('{"error":{"message":"Busy."}}', { status: 503 })); }; }`
);
const hint = `document.querySelector('.threads .hint').textContent`;
ok(
    await until(async () => {
        await b.ev(`${log}.scrollTop = 1e9`);
        return (await b.ev(hint)) === 'Busy.';
    }, 20000),
    'an answer that is an error is told'
);
ok(
    await until(async () => {
        await b.ev(`${log}.scrollTop -= 50`);
        await b.ev(`${log}.scrollTop = 1e9`);
        return +(await reading()) > 300 && (await b.ev(hint)) === '';
    }, 20000),
    'and forgotten with the next that is none',
    await b.ev(hint)
);

// A page is cut at some megabytes, and not the last for that.
series(300, `INSERT INTO messages(thread_id, from_id, content) SELECT 'wide', 'w', 'n' || i || ' ' || printf('%.*c', 60000, 'x') FROM n`);
await b.view('threads/wide/20');
ok(await b.until(`document.querySelector('[data-at] .gut')?.textContent === '20'`, 20000), 'pages of large messages are not the last for being short');
ok(
    await until(async () => {
        await b.ev(log + '.scrollTop = 0');
        return (await reading()) === '1';
    }, 20000),
    'and the first is reached'
);

// ---- more threads and tasks than are kept ----

series(2500, `INSERT INTO threads(id, title, updated_at) SELECT 'th' || i, 'Title ' || i, 1700000000000 + i * 1000 FROM n`);
rows(500, i =>
    step('g' + i, {
        stream_type: 'status',
        status: i === 3 ? 'failed' : 'completed',
        directive: 'job ' + i,
        cost: i === 3 ? 99 : 0.1,
        created_at: NOW - 500000 + i * 1000
    })
);
await b.go(h.url);
await b.live();
await b.view('threads');
ok(
    await until(async () => {
        await b.ev(`document.querySelector('.threads .list').scrollTop = 1e9`);
        return await b.state(`s.threads.has('th1')`);
    }, 30000),
    'the thread list goes to its end'
);
ok(await b.state(`s.threads.has('th2500') && s.threads.has('big')`), 'and keeps its beginning');
await b.view('tasks?q=status%3Afailed');
ok(
    await b.until(`document.querySelectorAll('.table .row').length === 1 && document.querySelector('.table .row').innerText.includes('job 3')`),
    'a filter finds what is beyond the first page'
);
await b.view('tasks');
await b.click(`[...document.querySelectorAll('.heads button')].find(e => e.textContent === 'Cost')`);
ok(
    await b.until(`[...document.querySelectorAll('.table .row')].find(e => e.at === 0)?.innerText.includes('job 3')`),
    'the head of a column sorts by it',
    await b.ev('location.hash')
);
ok(await b.ev(`location.hash === '#/tasks?q=sort%3Acost'`), 'and the URL says so');
await b.view('tasks?q=sort%3Abanana');
ok(await b.until(`/means nothing here/.test(document.querySelector('.table .hint').textContent)`), 'a word the filter does not know is said');
await b.view('costs?range=7%20days');
ok(
    await b.until(`document.querySelector('.costs [aria-label^="Most expensive tasks"] tbody tr')?.innerText.includes('job 3')`),
    'the most expensive task is found, too'
);

// ---- one task ----

let at = 0;
const ev = (id, more) => step(id, { created_at: NOW - 3600e3 + 1000 * at++, ...more }),
    BASH = { stream_type: 'tool_use', tool_name: 'Bash' };
sql(
    transaction([
        ev('orphan', { stream_type: 'status', status: 'running' }),
        ev('orphan', { ...BASH, call_id: 'o1' }),
        ev('orphan', { stream_type: 'status', status: 'failed' })
    ])
);
await b.view('tasks/orphan');
ok(
    await b.until(`[...document.querySelectorAll('.step')].some(e => /ended.*Bash.*no result/s.test(e.innerText))`),
    'a call without a result ends with its task',
    (await steps())[1]
);
sql(step('ticks', { ...BASH, tool_input: '{"command":"sleep 60"}', call_id: 't1' }));
await b.view('tasks/ticks');
const clock = `document.querySelector('.step .tick')?.textContent`;
const begun = await b.until(`/^0:\\d\\d$/.test(${clock}) && ${clock}`);
ok(begun && (await b.until(`/^0:\\d\\d$/.test(${clock}) && ${clock} !== '${begun}'`)), 'a running call’s clock goes on', begun);
sql(step('ticks', { stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'ok', call_id: 't1' }));
ok(
    await b.until(
        `document.querySelectorAll('.step').length === 1 && /^done/.test(document.querySelector('.step').innerText.trim().split('\\n').find(s => /done|runs/.test(s)) || '')`
    ),
    'its result ends it, in the same row',
    (await steps()).join(' | ')
);

at = 0;
const call = { ...BASH, tool_input: '{"command":"make"}', call_id: 'e1' };
sql(
    transaction([
        ev('edge', { stream_type: 'status', status: 'running' }),
        ev('edge', { stream_type: 'error', error_msg: 'early error' }),
        ev('edge', { ...call, tool_name: 'Task', call_id: 'up' }),
        ev('edge', call),
        ev('edge', { stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'made', call_id: 'e1' }),
        ev('edge', { ...call, call_id: 'e2', parent_call_id: 'up' }),
        ...Array.from({ length: 197 }, (_, k) => ev('edge', { stream_type: 'text', text: 't' + k })),
        ev('edge', { stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'far', call_id: 'e2' }),
        ev('edge', { stream_type: 'status', status: 'completed' })
    ])
);
await b.view('tasks/edge');
ok(
    await b.until(`/^1 error/.test(document.querySelector('.detail .bar button').textContent)`),
    'an error on a page not read yet is counted',
    await b.text('.detail .bar')
);
await b.key('e');
ok(await b.until(`document.querySelector('.step[data-at]')?.innerText.includes('early error')`), 'e goes and finds it');
const joined = await b.state(
    `(r => [r.filter(x => x.e.stream_type === 'tool_result').length, r.find(x => x.e.call_id === 'e2').result?.tool_output, r.find(x => x.e.call_id === 'e2').depth].join())(s.logs.get('tasks/edge').rows)`
);
ok(joined === '0,far,1', 'a call and its result on two pages are one row, under its caller', joined);

sql(
    transaction(
        ['p', 'c1', 'c2', 'c3', 'c4'].map((call_id, i, all) =>
            step('nest', { stream_type: 'tool_use', tool_name: 'Task', call_id, parent_call_id: all[i - 1] || '' })
        )
    )
);
await b.view('tasks/nest');
await b.until(`document.querySelectorAll('.step').length === 5`);
const nest = await b.ev(
    `[...document.querySelectorAll('.step')].map(e => { const d = e.querySelector('details').getBoundingClientRect(); return [Math.round(d.left), d.right <= innerWidth, e.querySelector('.gut').getBoundingClientRect().left].join(); })`
);
ok(
    nest.every((s, i) => !i || +s.split(',')[0] > +nest[i - 1].split(',')[0]) &&
        nest.every(s => s.includes('true') && s.endsWith(nest[0].split(',')[2])),
    'each caller’s calls stand further in, inside the window',
    nest.join(' ')
);

rows(400, i => step('follow', { stream_type: 'text', text: 'step ' + i, turn_num: 1 + Math.floor(i / 20) }));
await b.view('tasks/follow');
ok(await b.until(`document.querySelectorAll('.outline .row').length > 5`, 2000), 'the turns stand beside the steps at once');
await b.ev(`document.querySelector('.tasks .log').scrollTop = 700`);
await b.drawn();
rows(14, i => step('follow', { stream_type: 'text', text: 'late ' + i }));
ok(
    await b.until(`/^14 new/.test(document.querySelector('.tasks .jump').textContent)`),
    'while reading up new steps are counted',
    await b.text('.tasks .jump')
);
await b.key('f');
ok(await b.until(`[...document.querySelectorAll('.step')].at(-1).innerText.includes('late 13')`), 'f follows');
const first = sql(`SELECT min(id) FROM task_stream WHERE task_id = 'follow'`);
await b.view('tasks/follow/' + first);
ok(await b.until(`document.querySelector('[data-at]')?.innerText.includes('step 0')`), 'a link to a step finds it');

// ---- many agents ----

sql(
    transaction(
        Array.from({ length: 30 }, (_, i) =>
            insert('telemetry', { instance_id: 'i' + i, agent_id: 'busy-' + i, turns: 1, status: 'running' })
        ).concat(Array.from({ length: 40 }, (_, i) => insert('agents', { id: 'lazy-' + i })))
    )
);
sql(
    step('slow', { stream_type: 'status', status: 'running', agent_id: 'slow', created_at: NOW - 400000 }) +
        step('slow', { ...BASH, tool_input: '{"command":"make world"}', call_id: 'z', agent_id: 'slow', created_at: NOW - 390000 })
);
await b.go(h.url);
await b.live();
await b.view('now');
const group = s => `[...document.querySelectorAll('.board section')].find(e => e.querySelector('h2')?.textContent === '${s}')?.innerText || ''`;
ok(
    await b.until(`document.querySelectorAll('.card').length >= 12 && /\\b3[12] of/.test(document.querySelector('.board .facts').textContent)`),
    'thirty-one work',
    await b.text('.board .facts')
);
ok(!/busy/.test(await b.ev(group('Idle'))), 'none of them stands under Idle');
await b.ev(`[...document.querySelectorAll('.board .link')].find(e => e.offsetParent && / more$/.test(e.textContent)).click()`);
await b.drawn();
const both = await b.ev(`(${group('Working')}) + (${group('Idle')})`);
ok(
    [...Array(30).keys()].every(i => both.includes('busy-' + i)) && [...Array(40).keys()].every(i => both.includes('lazy-' + i)),
    'every one of them can be seen'
);
ok(await b.until(`/slow[\\s\\S]{0,80}make world/.test(${group('Working')})`), 'after a reload an agent still shows the call it is in, however long');
await end(h, b);
