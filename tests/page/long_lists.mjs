// Long lists and long tasks: rows on pages that are not loaded are found, counted and joined, and
// the rows in view keep their position while new rows arrive.

import { startBrowser, startHub, sql, insert, transaction, check, finish, report, eventually } from './support.mjs';

const hub = await startHub();
const browser = await startBrowser();
const NOW = Date.now();
/** Runs an INSERT … SELECT over the numbers 1 to `count`, named `i`. */
const insertSeries = (count, statement) =>
    sql(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) ${statement} FROM n;`);
const insertRows = (count, makeRow) => sql(transaction(Array.from({ length: count }, (_, i) => makeRow(i))));
const step = (task_id, fields) => insert('task_stream', { task_id, agent_id: 'w', ...fields });
const stepTexts = () =>
    browser.evaluate(`[...document.querySelectorAll('.step')].map(e => e.innerText.replace(/\\n/g, ' '))`);
const loadedRows = id => browser.state(`s.timelines.get('${id}').rows.length`);

const TIMELINE = `document.querySelector('.threads .timeline')`;
const JUMP_TEXT = `document.querySelector('.threads .jump').textContent`;
const lastNumberIs = seq =>
    browser.eventually(`[...document.querySelectorAll('.message .gutter')].at(-1)?.textContent === '${seq}'`);
const selectedNumberIs = seq =>
    browser.eventually(`document.querySelector('[data-selected] .gutter')?.textContent === '${seq}'`);
/** Returns the number of the first message in view. */
const firstVisibleNumber = () =>
    browser.evaluate(
        `(e => { const top = e.getBoundingClientRect().top; return [...document.querySelectorAll('.message')].find(m => m.getBoundingClientRect().bottom > top)?.querySelector('.gutter').textContent; })(${TIMELINE})`
    );
const scrollToTop = () => browser.evaluate(TIMELINE + '.scrollTop = 0');
const scrollToBottom = () => browser.evaluate(TIMELINE + '.scrollTop = 1e9');

// ---- a thread of 100,000 messages ----

insertSeries(
    100000,
    `INSERT INTO messages(thread_id, from_id, content) SELECT 'big', 'agent-' || (i % 7), 'message number ' || i || ' with some words to make a line'`
);
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');
let start = Date.now();
await browser.goTo('threads/big');
check(await lastNumberIs(100000), 'a thread of 100,000 messages opens at its end');
report(`opened in ${Date.now() - start} ms`);
const firstLoaded = `import('./store.js').then(({ state: s }) => s.timelines.get('threads/big').first)`;
start = Date.now();
check(
    await eventually(async () => {
        await scrollToTop();
        return browser.evaluate(firstLoaded + '.then(n => n < 93500)');
    }, 60000),
    'scrolling up loads page after page'
);
report(`6,500 messages up in ${Date.now() - start} ms`);
await browser.evaluate(TIMELINE + '.scrollTop = 900');
await browser.rendered();
const readingAt = await firstVisibleNumber();
const loadedCount = await loadedRows('threads/big');
insertRows(3, () => insert('messages', { thread_id: 'big', from_id: 'x', content: 'new' }));
// The hub may still be sending the 100,000 messages.
check(
    await browser.eventually(`/^3 new/.test(${JUMP_TEXT})`, 60000),
    'new messages are counted while reading further up',
    await browser.text('.threads .jump')
);
check(
    loadedCount > 6000 && (await firstVisibleNumber()) === readingAt,
    'the message in view keeps its position',
    readingAt,
    await firstVisibleNumber()
);
await browser.press('f');
check(await lastNumberIs(100003), 'f follows the latest message');

start = Date.now();
await browser.goTo('threads/big/17');
check(await selectedNumberIs(17), 'a link to message 17 shows it');
check(
    (await loadedRows('threads/big')) <= 1000,
    'the messages in between are not loaded',
    await loadedRows('threads/big')
);
report(`in ${Date.now() - start} ms; ${await browser.countNodes()} nodes`);
check(
    await eventually(async () => {
        await scrollToBottom();
        return +(await firstVisibleNumber()) > 700;
    }),
    'scrolling down from there loads page after page',
    await firstVisibleNumber()
);
const isContiguous = `(t => t.rows.every((row, i) => row.event.message_seq === t.first + i))(s.timelines.get('threads/big'))`;
check(await browser.state(isContiguous), 'no message is missing on the way');
await browser.click(`document.querySelector('.threads .jump')`);
check(await lastNumberIs(100003), 'the button jumps to the latest message');
sql(insert('messages', { thread_id: 'big', from_id: 'x', content: 'live again' }));
check(await lastNumberIs(100004), 'live messages arrive at the end');
check((await browser.evaluate(`document.title`)) === 'big · agenthub', 'the title of the page names the thread');

await browser.goTo('threads/big/17');
await selectedNumberIs(17);
await browser.evaluate(`performance.clearResourceTimings()`);
await browser.goTo('threads/big/999999');
check(await selectedNumberIs(100004), 'a link beyond the end shows the end');
const threadRequests = `performance.getEntriesByType('resource').filter(e => e.name.includes('/threads/big/')).length`;
check(
    (await browser.evaluate(threadRequests)) <= 4,
    'a link beyond the end is not requested repeatedly',
    await browser.evaluate(threadRequests)
);

// ---- responses with an error ----

await browser.goTo('threads/big/17');
await selectedNumberIs(17);
await browser.evaluate(
    `{ window.realFetch = fetch; window.fetch = (url, options) => url.includes('from_seq') ? Promise.resolve(new Response('{"error":{"message":"busy."}}', { status: 503 })) : realFetch(url, options); }`
);
const threadHint = () => browser.evaluate(`document.querySelector('.threads .hint').textContent`);
check(
    await eventually(async () => {
        await scrollToBottom();
        return (await threadHint()) === 'Busy.';
    }),
    'an error while loading a page is shown'
);
await browser.evaluate('void (window.fetch = window.realFetch)');
check(
    await eventually(async () => {
        await browser.evaluate(`${TIMELINE}.scrollTop -= 50`);
        await scrollToBottom();
        return +(await firstVisibleNumber()) > 300 && (await threadHint()) === '';
    }),
    'the next page that loads removes the error',
    await threadHint()
);

// ---- pages that are short because their messages are large ----

insertSeries(
    300,
    `INSERT INTO messages(thread_id, from_id, content) SELECT 'wide', 'w', 'n' || i || ' ' || printf('%.*c', 60000, 'x')`
);
await browser.goTo('threads/wide/20');
check(await selectedNumberIs(20), 'a link into a thread of large messages shows its message');
check(
    await eventually(async () => {
        await scrollToTop();
        return (await firstVisibleNumber()) === '1';
    }),
    'scrolling up reaches the first large message'
);

// ---- more threads and tasks than one page ----

insertSeries(
    2500,
    `INSERT INTO threads(id, title, updated_at) SELECT 'th' || i, 'Title ' || i, 1700000000000 + i * 1000`
);
insertRows(500, i =>
    step('g' + i, {
        stream_type: 'status',
        status: i === 3 ? 'failed' : 'completed',
        directive: 'job ' + i,
        cost: i === 3 ? 99 : 0.1,
        created_at: NOW - 500000 + i * 1000
    })
);
await browser.open(hub.link());
await browser.isLive();
await browser.goTo('threads');
check(
    await eventually(async () => {
        await browser.evaluate(`document.querySelector('.threads .list').scrollTop = 1e9`);
        return browser.state(`s.threads.has('th1')`);
    }, 30000),
    'the thread list scrolls to its end'
);
check(await browser.state(`s.threads.has('th2500') && s.threads.has('big')`), 'the thread list still has its first items');
await browser.goTo('tasks?q=status%3Afailed');
check(
    await browser.eventually(
        `document.querySelectorAll('.task-table .row').length === 1 && document.querySelector('.task-table .row').innerText.includes('job 3')`
    ),
    'a filter finds tasks beyond the first page'
);
await browser.goTo('tasks');
await browser.click(`[...document.querySelectorAll('.column-headers button')].find(e => e.textContent === 'Cost')`);
check(
    await browser.eventually(
        `[...document.querySelectorAll('.task-table .row')].find(e => e.ariaPosInSet === '1')?.innerText.includes('job 3')`
    ),
    'a click on a column heading sorts by it',
    await browser.evaluate('location.hash')
);
check(await browser.evaluate(`location.hash === '#/tasks?q=sort%3Acost'`), 'the URL holds the sort order');
await browser.goTo('tasks?q=sort%3Abanana');
check(
    await browser.eventually(
        `/Unknown filter “sort:banana”/.test(document.querySelector('.task-table .hint').textContent)`
    ),
    'an unknown filter is reported'
);
await browser.goTo('costs?range=7%20days');
check(
    await browser.eventually(
        `document.querySelector('.costs [aria-label^="Most expensive tasks"] tbody tr')?.innerText.includes('job 3')`
    ),
    'the most expensive task is found beyond the first page'
);

// ---- numbers of all rows, of which the page has only some ----

const TASKS_FACTS = `document.querySelector('.task-table .facts').textContent`;
const THREADS_FACTS = `document.querySelector('.threads .facts').textContent`;
const badge = view => `document.querySelector('nav [data-view="${view}"]').lastElementChild.textContent`;
insertSeries(
    3000,
    `INSERT INTO task_stream(task_id, stream_type, status, agent_id) SELECT 'many' || i, 'status', CASE WHEN i % 3 THEN 'completed' ELSE 'running' END, 'w'`
);
insertSeries(
    2500,
    `INSERT INTO inbox_messages(from_agent, to_inbox, payload) SELECT 'w', 'human', 'mail ' || i`
);
const count = query => +sql(query);
const TASK_COUNT = `SELECT count(DISTINCT task_id) FROM task_stream`;
const isShown = async (expression, text) => {
    check(await browser.eventually(`${expression} === '${text}'`, 20000), `${text} is shown`, await browser.evaluate(expression));
};
await browser.open(hub.link());
await browser.isLive();
await browser.goTo('tasks');
check((await browser.state('s.tasks.size')) < 300, 'the page has few of the tasks');
await isShown(TASKS_FACTS, `${count(TASK_COUNT)} tasks, 1000 running`);
sql(step('many3', { stream_type: 'status', status: 'completed' }) + step('one more', { stream_type: 'text', text: 'x' }));
sql(step('many6', { stream_type: 'status', status: 'failed' }));
await isShown(TASKS_FACTS, `${count(TASK_COUNT)} tasks, 999 running`);
await browser.goTo('tasks?q=status%3Afailed');
await isShown(TASKS_FACTS, '2 tasks, 0 running');
await isShown(badge('tasks'), '999');
await browser.goTo('now');
const FINISHED = `document.querySelector('.finished summary').textContent`;
const midnight = new Date().setHours(0, 0, 0, 0);
const finished = count(
    `SELECT count(*) FROM (SELECT status, created_at AS at, max(id) FROM task_stream WHERE stream_type = 'status' GROUP BY task_id) WHERE status = 'completed' AND at >= ${midnight}`
);
check(finished > 2000, 'more tasks are finished than the page has');
await isShown(FINISHED, `Finished today (${finished})`);
await isShown(badge('inbox'), '2.5k');
await browser.goTo('inbox/human?show=unread');
const MARK_ALL = `[...document.querySelectorAll('button')].find(e => / as read$/.test(e.textContent))?.textContent`;
await isShown(MARK_ALL, 'Mark 2500 as read');
sql(`UPDATE inbox_messages SET status = 'read' WHERE n <= 10`);
await isShown(MARK_ALL, 'Mark 2490 as read');
await browser.goTo('threads');
await isShown(THREADS_FACTS, `${count('SELECT count(*) FROM threads')} threads, most recent first`);
sql(insert('messages', { thread_id: 'one more thread', from_id: 'x', content: 'x' }));
await isShown(THREADS_FACTS, `${count('SELECT count(*) FROM threads')} threads, most recent first`);
// A task that the page has not loaded, and one that continues.
sql(transaction([1, 2, 3].map(() => step('many9', { stream_type: 'error', error_msg: 'no', turn_num: 7 }))));
insertSeries(400, `INSERT INTO task_stream(task_id, stream_type, status) SELECT 'later' || i, 'status', 'completed'`);
await browser.open(hub.link());
await browser.isLive();
const ERRORS = `document.querySelector('.detail .toolbar button').textContent`;
check(!(await browser.state(`s.tasks.has('many9')`)), 'the task is not loaded');
await browser.goTo('tasks/many9');
await isShown(ERRORS, '3 errors');
check(/7 turns/.test(await browser.text('.detail .facts')), 'its turns are counted', await browser.text('.detail .facts'));
sql(step('many9', { stream_type: 'tool_result', tool_name: 'Bash', error_msg: 'exit 1', turn_num: 8 }));
await isShown(ERRORS, '4 errors');
check(await browser.eventually(`/8 turns/.test(document.querySelector('.detail .facts').textContent)`), 'and stay so');
const totalsRequests = await browser.evaluate(
    `performance.getEntriesByType('resource').filter(e => e.name.includes('/api/totals')).map(e => e.startTime)`
);
check(
    totalsRequests.every((at, i) => !i || at - totalsRequests[i - 1] > 900),
    'totals are requested once per second at most',
    totalsRequests.join()
);

// ---- tool calls ----

let second = 0;
const nextStep = (id, fields) => step(id, { created_at: NOW - 3600e3 + 1000 * second++, ...fields });
const BASH = { stream_type: 'tool_use', tool_name: 'Bash' };
sql(
    transaction([
        nextStep('orphan', { stream_type: 'status', status: 'running' }),
        nextStep('orphan', { ...BASH, call_id: 'o1' }),
        nextStep('orphan', { stream_type: 'status', status: 'failed' })
    ])
);
await browser.goTo('tasks/orphan');
check(
    await browser.eventually(`[...document.querySelectorAll('.step')].some(e => /no result.*Bash/s.test(e.innerText))`),
    'a call without a result ends with its task',
    (await stepTexts())[1]
);
sql(step('ticks', { ...BASH, tool_input: '{"command":"sleep 60"}', call_id: 't1' }));
await browser.goTo('tasks/ticks');
const DURATION = `document.querySelector('.step .duration')?.textContent`;
const firstDuration = await browser.eventually(`/^0:\\d\\d$/.test(${DURATION}) && ${DURATION}`);
check(
    firstDuration && (await browser.eventually(`/^0:\\d\\d$/.test(${DURATION}) && ${DURATION} !== '${firstDuration}'`)),
    'the clock of a running call ticks',
    firstDuration
);
sql(step('ticks', { stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'ok', call_id: 't1' }));
check(
    await browser.eventually(
        `document.querySelectorAll('.step').length === 1 && document.querySelector('.step summary i').textContent === 'done'`
    ),
    'the result ends the call in the same row',
    (await stepTexts()).join(' | ')
);

second = 0;
const call = { ...BASH, tool_input: '{"command":"make"}', call_id: 'e1' };
sql(
    transaction([
        nextStep('edge', { stream_type: 'status', status: 'running' }),
        nextStep('edge', { stream_type: 'error', error_msg: 'early error' }),
        nextStep('edge', { ...call, tool_name: 'Task', call_id: 'up' }),
        nextStep('edge', call),
        nextStep('edge', { stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'made', call_id: 'e1' }),
        nextStep('edge', { ...call, call_id: 'e2', parent_call_id: 'up' }),
        ...Array.from({ length: 197 }, (_, i) => nextStep('edge', { stream_type: 'text', text: 't' + i })),
        nextStep('edge', { stream_type: 'tool_result', tool_name: 'Bash', tool_output: 'far', call_id: 'e2' }),
        nextStep('edge', { stream_type: 'status', status: 'completed' })
    ])
);
await browser.goTo('tasks/edge');
check(
    await browser.eventually(`/^1 error/.test(document.querySelector('.detail .toolbar button').textContent)`),
    'an error on a page that is not loaded is counted',
    await browser.text('.detail .toolbar')
);
await browser.press('e');
check(
    await browser.eventually(`document.querySelector('.step[data-selected]')?.innerText.includes('early error')`),
    'e loads the page and selects the error'
);
const joinedCall = await browser.state(
    `(rows => { const call = rows.find(row => row.event.call_id === 'e2'); return [rows.filter(row => row.event.stream_type === 'tool_result').length, call.result?.tool_output, call.depth].join(); })(s.timelines.get('tasks/edge').rows)`
);
check(joinedCall === '0,far,1', 'a call and its result on two pages are one row, nested in its caller', joinedCall);

sql(
    transaction(
        ['p', 'c1', 'c2', 'c3', 'c4'].map((call_id, i, all) =>
            step('nest', { stream_type: 'tool_use', tool_name: 'Task', call_id, parent_call_id: all[i - 1] || '' })
        )
    )
);
await browser.goTo('tasks/nest');
await browser.eventually(`document.querySelectorAll('.step').length === 5`);
const nested = await browser.evaluate(
    `[...document.querySelectorAll('.step')].map(e => { const d = e.querySelector('details').getBoundingClientRect(); return { left: Math.round(d.left), fits: d.right <= innerWidth, gutter: e.querySelector('.gutter').getBoundingClientRect().left }; })`
);
check(
    nested.every((s, i) => (!i || s.left > nested[i - 1].left) && s.fits && s.gutter === nested[0].gutter),
    'nested calls are indented and stay inside the window',
    JSON.stringify(nested)
);

// ---- following a task ----

insertRows(400, i => step('follow', { stream_type: 'text', text: 'step ' + i, turn_num: 1 + Math.floor(i / 20) }));
await browser.goTo('tasks/follow');
check(
    await browser.eventually(`document.querySelectorAll('.outline .row').length > 5`, 2000),
    'the turns are listed beside the steps'
);
await browser.evaluate(`document.querySelector('.tasks .timeline').scrollTop = 700`);
await browser.rendered();
insertRows(14, i => step('follow', { stream_type: 'text', text: 'late ' + i }));
check(
    await browser.eventually(`/^14 new/.test(document.querySelector('.tasks .jump').textContent)`),
    'new steps are counted while reading further up',
    await browser.text('.tasks .jump')
);
await browser.press('f');
check(
    await browser.eventually(`[...document.querySelectorAll('.step')].at(-1).innerText.includes('late 13')`),
    'f follows the latest step'
);
const firstStep = sql(`SELECT min(id) FROM task_stream WHERE task_id = 'follow'`);
await browser.goTo('tasks/follow/' + firstStep);
check(
    await browser.eventually(`document.querySelector('[data-selected]')?.innerText.includes('step 0')`),
    'a link to a step shows it'
);

// ---- many agents ----

const session = i => ({ instance_id: 'i' + i, agent_id: 'busy-' + i, turns: 1, status: 'running' });
sql(
    transaction([
        ...Array.from({ length: 30 }, (_, i) => insert('telemetry', session(i))),
        insert('agents', { id: 'killed', status: 'gone' }),
        insert('telemetry', { ...session(30), agent_id: 'killed' }),
        ...Array.from({ length: 40 }, (_, i) => insert('agents', { id: 'lazy-' + i }))
    ])
);
const slowCall = { ...BASH, tool_input: '{"command":"make world"}', call_id: 'z', agent_id: 'slow' };
sql(
    step('slow', { stream_type: 'status', status: 'running', agent_id: 'slow', created_at: NOW - 400000 }) +
        step('slow', { ...slowCall, created_at: NOW - 390000 })
);
await browser.open(hub.link());
await browser.isLive();
await browser.goTo('now');
const sectionText = heading =>
    `[...document.querySelectorAll('.board section')].find(e => e.querySelector('h2')?.textContent === '${heading}')?.innerText || ''`;
check(
    await browser.eventually(
        `document.querySelectorAll('.card').length >= 12 && /\\b3[12] of/.test(document.querySelector('.board .facts').textContent)`
    ),
    'thirty-one agents are working',
    await browser.text('.board .facts')
);
check(!/busy/.test(await browser.evaluate(sectionText('Idle'))), 'no working agent is listed as idle');
await browser.evaluate(
    `[...document.querySelectorAll('.board .link-button')].find(e => e.offsetParent && / more$/.test(e.textContent)).click()`
);
await browser.rendered();
const boardText = await browser.evaluate(`(${sectionText('Working')}) + (${sectionText('Idle')})`);
check(
    [...Array(30).keys()].every(i => boardText.includes('busy-' + i)) &&
        [...Array(40).keys()].every(i => boardText.includes('lazy-' + i)),
    'every agent can be shown'
);
check(
    /killed[\s\S]{0,80}gone/.test(await browser.evaluate(sectionText('Idle'))),
    'an agent whose process has ended is not working'
);
check(
    await browser.eventually(`/slow[\\s\\S]{0,80}make world/.test(${sectionText('Working')})`),
    'after a reload an agent in a long call is still shown with it'
);
await finish(hub, browser);
