// What the page shows is true: the place of each row, the group of each agent, what waits for the person, the totals, and
// whether the data is still up to date.

import { startBrowser, startHub, sql, insert, transaction, check, finish, eventually } from './support.mjs';

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

await finish(hub, browser);
