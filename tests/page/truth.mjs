// What the page shows is true: the place of each row, the group of each agent, what waits for the person, the totals, and
// whether the data is still up to date.

import { env, startBrowser, startHub, sql, insert, transaction, check, finish, eventually, CTRL } from './support.mjs';

let hub = await startHub();
const browser = await startBrowser();
const insertRows = (count, makeRow) => sql(transaction(Array.from({ length: count }, (_, i) => makeRow(i))));
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');

// ---- rows of a list while the focus is on one of them ----

const MINUTE = 60000;
const NOW = Date.now();
/** Returns the rows of a list whose place is not that of their item, and those that cover another row. */
const misplacedRows = list =>
    browser.evaluate(
        `(rows => rows.filter(row => row.style.transform !== \`translateY(\${(row.ariaPosInSet - 1) * 58}px)\`
            || rows.some(other => other !== row && other.getBoundingClientRect().top === row.getBoundingClientRect().top)).map(row => row.innerText))(
            [...document.querySelectorAll('${list} .row')])`
    );
insertRows(200, i =>
    insert('messages', { thread_id: 'th' + i, from_id: 'w', content: 'x', created_at: NOW - (200 - i) * MINUTE })
);
await browser.goTo('threads');
await browser.eventually(`document.querySelector('.threads .row[aria-posinset="1"]')?.innerText.includes('th199')`);
await browser.evaluate(`document.querySelector('.threads .row[aria-posinset="1"] a').focus()`);
const focusedThread = await browser.evaluate('document.activeElement.hash');
insertRows(150, i => insert('messages', { thread_id: 'th' + i, from_id: 'w', content: 'y' }));
await browser.eventually(`document.querySelector('.threads .row[aria-posinset="1"]')?.innerText.includes('y')`);
const focusedText = () => browser.evaluate('document.activeElement.innerText');
check(
    await browser.evaluate(`document.activeElement.hash === '${focusedThread}'`),
    'a row that moves out of sight keeps the focus',
    await focusedText()
);
check(
    await browser.eventually(`document.activeElement.closest('.row').ariaPosInSet === '151'`, 5000),
    'it has the position of its item',
    await browser.evaluate(`document.activeElement.closest('.row')?.ariaPosInSet`)
);
check(!(await misplacedRows('.threads')).length, 'no row covers another one', await misplacedRows('.threads'));

insertRows(30, i =>
    insert('inbox_messages', { from_agent: 'w', to_inbox: 'box-a', title: 'a' + i, created_at: NOW - i * MINUTE })
);
insertRows(30, i =>
    insert('inbox_messages', { from_agent: 'w', to_inbox: 'box-b', title: 'b' + i, created_at: NOW - i * MINUTE })
);
await browser.goTo('inbox/box-a');
await browser.eventually(`document.querySelector('.inbox .row[aria-posinset="3"]')?.innerText.includes('a2')`);
await browser.evaluate(`document.querySelector('.inbox .row[aria-posinset="3"] a').focus()`);
await browser.goTo('inbox/box-b');
await browser.eventually(`document.querySelector('.inbox .row[aria-posinset="1"]')?.innerText.includes('b0')`);
check(
    await browser.evaluate(`![...document.querySelectorAll('.inbox .row')].some(row => /^..\\s*a\\d/.test(row.innerText))`),
    'another mailbox shows no row of the mailbox before'
);
check(!(await misplacedRows('.inbox')).length, 'none of its rows covers another one', await misplacedRows('.inbox'));
check(await browser.eventually(`document.activeElement.innerText.includes('box-b')`), 'the focus moves to one of its rows', await focusedText());

// ---- groups of agents while the board has the focus ----

const status = (agent, fields) =>
    insert('task_stream', { task_id: 't-' + agent, agent_id: agent, stream_type: 'status', ...fields });
const SECTION_OF = `((agent, sections) => sections.filter(e => e.offsetParent && [...e.querySelectorAll('.card')].some(card => card.innerText.includes(agent))).map(e => e.querySelector('h2').textContent).join())`;
const isIn = (agent, section) =>
    `${SECTION_OF}('${agent}', [...document.querySelectorAll('.board section')]) === '${section}'`;
sql(
    insert('agents', { id: 'focused-one', status: 'running' }) +
        status('builder', { status: 'running', directive: 'build it' }) +
        status('ender', { status: 'running', directive: 'end it' })
);
await browser.goTo('now');
check(await browser.eventually(isIn('builder', 'Working')), 'an agent with a running task works');
await browser.eventually(isIn('focused-one', 'Working'));
const focusCard = agent =>
    browser.evaluate(
        `[...document.querySelectorAll('.card h3 a')].find(e => e.textContent.includes('${agent}')).focus()`
    );
await focusCard('focused-one');
sql(status('builder', { status: 'failed' }));
check(await browser.eventually(isIn('builder', 'Needs you'), 5000), 'an agent that fails needs the person at once, wherever the focus is');
sql(status('builder', { status: 'running' }));
check(await browser.eventually(isIn('builder', 'Working'), 5000), 'when it continues, it works again');
await focusCard('ender');
const pointer = await browser.centerOf(`document.querySelector('.board h1')`);
await browser.mouse('mouseMoved', pointer);
sql(status('ender', { status: 'failed', text: 'broken' }));
check(await browser.eventually(isIn('ender', 'Needs you'), 2000), 'the pointer does not delay that');
check(
    await browser.eventually(`document.activeElement.closest('.attention .card')?.innerText.includes('ender')`, 2000),
    'the focus stays on the agent'
);
// The card under the pointer is another one after the change.
const place = await browser.centerOf(`[...document.querySelectorAll('.board .card')].find(e => e.innerText.includes('builder')).querySelector('h3 a')`);
await browser.mouse('mouseMoved', place);
sql(status('another', { status: 'failed' }) + status('first', { status: 'waiting', text: 'asks for permission: Bash' }));
const wasGuarded = await browser.evaluate(
    `new Promise(resolve => { const look = () => (${isIn('first', 'Needs you')} ? resolve(!document.elementFromPoint(${place})?.closest('a')) : requestAnimationFrame(look)); look(); })`
);
check(wasGuarded, 'a card that has just moved ignores clicks');
sql(status('builder', { status: 'completed' }));
check(
    await browser.eventually(`[...document.querySelectorAll('.agent-line')].some(e => e.offsetParent && e.innerText.includes('builder'))`, 6000),
    'an agent that ends its work is idle although the pointer rests on the board'
);

// ---- what waits for the person ----

insertRows(18, i => insert('inbox_messages', { from_agent: 'w', to_inbox: 'human', title: 'fyi ' + i, payload: 'x' }));
sql(insert('inbox_messages', { from_agent: 'w', to_inbox: 'human', title: 'urgent', payload: 'x', priority: 'urgent' }));
sql(
    status('asker', { status: 'running', directive: 'migrate the tables' }) +
        insert('task_stream', { task_id: 't-asker', agent_id: 'asker', stream_type: 'tool_use', tool_name: 'Bash', tool_input: '{"command":"dropdb prod"}', call_id: '1' }) +
        status('asker', { status: 'waiting', text: 'asks for permission: Bash' }) +
        status('ship', { status: 'running', directive: 'release 0.5' })
);
await browser.eventually(isIn('asker', 'Needs you'));
sql(insert('inbox_messages', { from_agent: 'ship', to_inbox: 'human', title: 'Ship it?', payload: 'Ship it?', message_type: 'request' }));
const blockedTexts = () =>
    browser.evaluate(`[...document.querySelectorAll('.requests > li')].map(e => e.innerText.replace(/\\s+/g, ' '))`);
await browser.eventually(`document.querySelector('.requests').innerText.includes('Ship it?')`);
await browser.mouse('mouseMoved', [1, 1]);
await browser.eventually(`document.querySelector('.requests > li').innerText.includes('Ship it?')`);
const texts = await blockedTexts();
check(texts.length === 3 && /Ship it\?/.test(texts[0]) && /asker/.test(texts[1]) && /first/.test(texts[2]), 'what waits is shown first, the newest at the top', texts);
check(/Blocks release 0\.5 · waits \d/.test(texts[0]), 'a question shows the task that waits and how long', texts[0]);
check(
    /Waits \d+ s for permission: Bash/.test(texts[1]) && /dropdb prod/.test(texts[1]) && /Blocks migrate the tables/.test(texts[1]),
    'a permission shows the tool, the call, the task and how long it waits',
    texts[1]
);
check(
    await browser.eventually(`document.querySelector('.attention .more').textContent === '19 unread · 1 urgent'`),
    'other mail is one line',
    await browser.text('.attention .more')
);
await browser.screenshot('truth-needs');
await browser.open(hub.link());
await browser.isLive();
check(
    await browser.eventually(`/dropdb prod/.test(document.querySelector('.requests').innerText)`),
    'after a reload the call is still shown',
    await blockedTexts()
);
await browser.click(`document.querySelector('.attention .more')`);
check(await browser.evaluate(`location.hash === '#/inbox/human?show=unread'`), 'it leads to the unread mail');

// ---- tasks and agents that are silent or gone ----

sql(
    status('silent', { status: 'running', directive: 'be silent', created_at: NOW - 11 * MINUTE }) +
        insert('agents', { id: 'killed', status: 'gone' }) +
        status('killed', { status: 'running', directive: 'be killed' })
);
const taskTag = task =>
    `[...document.querySelectorAll('.task-table .row')].find(e => e.innerText.includes('${task}'))?.querySelector('.tag')`;
await browser.goTo('tasks');
check(
    await browser.eventually(`${taskTag('be silent')}.textContent === 'stale' && /10 minutes/.test(${taskTag('be silent')}.title)`),
    'a running task without steps is stale, and the tooltip says since when it is called so'
);
check(
    await browser.eventually(`${taskTag('be killed')}.textContent === 'gone'`),
    'a task whose process has ended is gone'
);
check(
    await browser.evaluate(`${taskTag('release 0.5')}.textContent === 'running'`),
    'a task with a recent step is neither'
);
await browser.goTo('now');
check(
    await browser.eventually(
        `[...document.querySelectorAll('.agent-line')].some(e => e.offsetParent && /killed\\s+gone/.test(e.innerText))`
    ),
    'an agent whose process has ended is gone'
);
await browser.screenshot('truth-gone');

// ---- without a hub ----

const BANNER = `document.getElementById('banner')`;
await browser.evaluate(
    `window.spoken = []; new MutationObserver(() => spoken.push(document.getElementById('announcements').textContent)).observe(document.getElementById('announcements'), { childList: true, characterData: true, subtree: true })`
);
check(await browser.evaluate(`${BANNER}.hidden && !document.querySelector('[data-stale]')`), 'while the page is live there is no banner');
const lostAt = Date.now();
await hub.stop();
check(await browser.eventually(`!${BANNER}.hidden`), 'without a hub there is a banner');
check(Date.now() - lostAt > 1900, 'a short interruption shows none', Date.now() - lostAt);
const serve = `agenthub --db ${env.AGENTHUB_DB} serve --listen ${hub.listen}`;
const clock = ms => new Date(ms).toTimeString().slice(0, 5);
const bannerText = await browser.text('#banner');
check(
    [lostAt, lostAt + MINUTE].some(ms => bannerText === `Disconnected. Showing data from ${clock(ms)}. Run ${serve}.`),
    'the banner says from when the data is and what to do',
    bannerText
);
check(await browser.evaluate(`document.documentElement.matches('[data-stale]')`), 'ages are marked as possibly out of date');
await browser.eventually(`spoken.some(text => /Disconnected/.test(text))`, 8000);
await browser.screenshot('truth-disconnected');
await eventually(() => Date.now() - lostAt > 9000);
const spoken = await browser.evaluate('spoken');
check(
    spoken.length === 1 && /Disconnected.*agenthub .*serve/.test(spoken[0]),
    'it is announced once, and attempts to reconnect are not',
    spoken
);
hub = await startHub({ listen: hub.listen });
check(await browser.isLive(30000), 'the page reconnects');
check(
    await browser.eventually(`${BANNER}.hidden && !document.querySelector('[data-stale]')`),
    'the banner disappears'
);

// ---- a message to an agent, without leaving the board ----

await browser.goTo('now');
const messageLink = `[...document.querySelectorAll('.card')].find(e => e.innerText.includes('asker')).querySelector('footer a:not([hidden]):last-of-type')`;
const dialogField = name => `document.querySelector('.message-dialog[open] ${name}')`;
await browser.click(messageLink);
check(
    (await browser.eventually(`${dialogField('input')}?.value === 'asker'`, 5000)) &&
        (await browser.evaluate(`location.hash === '#/now'`)),
    'Message on a card opens a form with the recipient on the same view',
    await browser.evaluate('location.hash')
);
await browser.screenshot('truth-message');
await browser.press('Escape');
check(
    await browser.evaluate(`document.activeElement === ${messageLink}`),
    'Escape returns the focus to the card',
    await browser.evaluate('document.activeElement.outerHTML.slice(0, 100)')
);
await browser.press('m');
await browser.type('go on');
await browser.press('Enter', CTRL);
check(
    await eventually(() => sql(`SELECT payload FROM inbox_messages WHERE to_inbox = 'asker'`) === 'go on'),
    'm writes to the agent of the card with the focus'
);
check(
    await browser.eventually(`!document.querySelector('.message-dialog[open]') && location.hash === '#/now'`),
    'after sending, the board is shown'
);
const openMessage = name => browser.evaluate(`import('./components/message_form.js').then(m => m.openMessageDialog('${name}'))`);
await openMessage('asker');
await browser.type('half a word');
await browser.press('Escape');
await openMessage('writer');
check(await browser.evaluate(`${dialogField('textarea')}.value === ''`), 'a draft for one agent is not sent to another');
await browser.press('Escape');
await openMessage('asker');
check(await browser.evaluate(`${dialogField('textarea')}.value === 'half a word'`), 'the draft is kept for its recipient');
await browser.click(`${dialogField('button.primary')}`);
check(
    await eventually(() => sql(`SELECT count(*) FROM inbox_messages WHERE payload = 'half a word' AND to_inbox = 'asker'`) === '1'),
    'the button of the form sends the message'
);
await browser.eventually(`!document.querySelector('.message-dialog[open]')`);

// ---- an agent that waits for mail or for an answer ----

sql(
    status('reader', { status: 'running', directive: 'read mail' }) +
        insert('task_stream', {
            task_id: 't-reader',
            agent_id: 'reader',
            stream_type: 'tool_use',
            tool_name: 'Bash',
            tool_input: '{"command":"agenthub inbox reader --wait 60"}'
        })
);
const cardText = agent =>
    `[...document.querySelectorAll('.board section:not(.attention) .card')].find(e => e.innerText.includes('${agent}'))?.innerText || ''`;
check(await browser.eventually(`/Waits \\d+ s for mail/.test(${cardText('reader')})`), 'an agent that waits for mail says so');
check(
    await browser.eventually(`/for your answer: Ship it\\?/.test(${cardText('ship')})`),
    'an agent that has asked the person shows the question'
);

// ---- the palette ----

sql(
    status('twin-1', { status: 'running', directive: 'same words' }) +
        status('twin-2', { status: 'failed', directive: 'same words' })
);
await browser.eventually(`import('./store.js').then(({ state: s }) => s.tasks.has('t-twin-2'))`);
await browser.press('/');
await browser.type('same words');
await browser.eventually(`document.querySelectorAll('[role=option]').length >= 2`);
const options = await browser.evaluate(
    `[...document.querySelectorAll('[role=option]')].slice(0, 2).map(e => e.innerText.replace(/\\s+/g, ' ')).sort()`
);
check(
    /failed.*task · twin-2 · now/.test(options[0]) && /running.*task · twin-1 · now/.test(options[1]),
    'results with the same text show status, kind, agent and age',
    options
);
await browser.screenshot('truth-palette');
await browser.press('Escape');

await finish(hub, browser);
