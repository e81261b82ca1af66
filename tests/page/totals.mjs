// A number that is shown as a total counts all rows of the database, of which the page has loaded only some.

import { startBrowser, startHub, sql, check, finish } from './support.mjs';

const hub = await startHub();
const browser = await startBrowser();
const NOW = Date.now();
/** Runs an INSERT … SELECT over the numbers 1 to `count`, named `i`. */
const insertSeries = (count, statement) =>
    sql(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) ${statement} FROM n;`);
const isShown = async (expression, text) =>
    check(await browser.eventually(`${expression} === '${text}'`, 8000), `${text} is shown`, await browser.evaluate(expression));
const textOf = selector => `document.querySelector('${selector}')?.textContent`;

const AGENTS = 1100;
insertSeries(AGENTS, `INSERT INTO agents(id, last_active_at) SELECT 'agent-' || i, ${NOW} - i`);
sql(`UPDATE agents SET status = 'running' WHERE id = 'agent-1'`);
insertSeries(150, `INSERT INTO telemetry(instance_id, agent_id, turns) SELECT 'run-' || i, 'agent-1', 1`);
insertSeries(450, `INSERT INTO inbox_messages(from_agent, to_inbox, payload) SELECT 'w', 'agent-2', 'mail ' || i`);
insertSeries(300, `INSERT INTO inbox_messages(from_agent, to_inbox, payload, status) SELECT 'w', 'human', 'mail ' || i, 'read'`);
insertSeries(250, `INSERT INTO threads(id) SELECT 'th' || i`);
insertSeries(250, `INSERT INTO messages(thread_id, from_id, content) SELECT 'th' || i, 'agent-1', 'x'`);
insertSeries(
    3000,
    `INSERT INTO task_stream(task_id, stream_type, status, agent_id) SELECT 'task' || i, 'status', CASE i % 3 WHEN 0 THEN 'completed' WHEN 1 THEN 'running' ELSE 'waiting' END, 'w'`
);
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');

// ---- Now ----

const agentCount = sql('SELECT count(*) FROM agents');
check(+agentCount >= AGENTS, 'there are more agents than a page of them');
check(
    await browser.eventually(`/of ${agentCount} working/.test(${textOf('.board .facts')})`, 8000),
    'all agents are counted',
    await browser.text('.board .facts')
);
check(
    await browser.eventually(
        `[...document.querySelectorAll('.card')].find(e => e.innerText.includes('agent-1'))?.querySelector('dd').textContent === '150'`,
        8000
    ),
    'the turns of all runs are counted',
    await browser.text('.card .totals')
);
await isShown(textOf('.finished summary'), 'Finished today (1000)');
await browser.click(`document.querySelector('.finished summary')`);
await isShown(textOf('.finished .more'), 'Show all 1000 completed today');
check(
    await browser.eventually(`${textOf('[data-view="threads"] b')}.endsWith('+')`),
    'threads that are not loaded may be unread too',
    await browser.text('[data-view="threads"] b')
);

// ---- mailboxes ----

await browser.goTo('inbox/agent-2');
await isShown(textOf('.inbox .facts'), 'agent-2 · 450');
const MARK_ALL = `[...document.querySelectorAll('button')].find(e => / as read$/.test(e.textContent))?.textContent`;
await isShown(MARK_ALL, 'Mark 450 as read');
await browser.goTo('inbox/agent-2?show=unread');
await isShown(textOf('.inbox .facts'), 'agent-2 · 450');
await browser.goTo('inbox/*');
await isShown(textOf('.inbox .facts'), 'All mailboxes · 750');
insertSeries(50, `INSERT INTO inbox_messages(from_agent, to_inbox, payload) SELECT 'w', 'all', 'mail ' || i`);
await browser.goTo('inbox/human');
await isShown(textOf('.inbox .facts'), 'You · 350');

// ---- tasks ----

await browser.goTo('tasks?q=sort%3Acost');
await isShown(textOf('.task-table .facts'), '3000 tasks, 1000 running');
await browser.goTo('tasks?q=status%3Awaiting');
await isShown(textOf('.task-table .facts'), '1000 tasks, 0 running');
await browser.goTo('tasks?q=sort%3Acost+status%3Arunning');
await isShown(textOf('.task-table .facts'), '1000 tasks, 1000 running');
await browser.goTo('setup');
await isShown(textOf('.setup h2 .facts'), '1.1k');
await finish(hub, browser);
