// What a person does in a session: the first row fills the empty page, a question is answered with the
// mouse, a message reaches its reader, hostile text stays text, and the keyboard alone reaches every view.

import { startAgenthub, startBrowser, startHub, sql, insert, check, finish, eventually, CTRL } from './support.mjs';
import { fixtureSql } from './fixtures.mjs';

const hub = await startHub();
const browser = await startBrowser();
const hash = () => browser.evaluate('location.hash');
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');
check(
    await browser.eventually(`!document.querySelector('.empty').hidden && document.querySelector('.empty code')`),
    'the empty page shows commands to copy'
);
sql(insert('messages', { thread_id: 'build', from_id: 'planner', content: 'tests are green' }));
check(
    await browser.eventually(
        `document.querySelector('.empty').hidden && document.querySelector('.feed').textContent.includes('tests are green')`
    ),
    'the first row replaces the empty state'
);
check(
    await browser.eventually(
        `(e => e?.offsetParent && /build/.test(e.textContent) && e.hash === '#/threads/build/1')(document.querySelector('.first-row a'))`
    ),
    'a link leads to the first row'
);
check(/agenthub.*init/s.test(await browser.text('.first-row')), 'the page says what to do next');
await browser.click(`document.querySelector('.first-row > button')`);
check(await browser.eventually(`document.querySelector('.first-row').hidden`), 'that can be dismissed');

// ---- an agent asks, the person answers with the mouse ----

const asking = startAgenthub('ask', 'human', 'ship it?', '--wait', '60', '--from', 'planner');
const requestButton = label =>
    `[...document.querySelectorAll('.request button')].find(e => !e.hidden && e.textContent === '${label}')`;
check(await browser.eventually(requestButton('Yes') + ' && 1'), 'the question is shown on Now');
check(
    await browser.eventually(`document.title.startsWith('(1)')`),
    'the title shows that one is pending',
    await browser.evaluate('document.title')
);
await browser.click(requestButton('Yes'));
const reply = await eventually(() =>
    sql(`SELECT from_agent, to_inbox, message_type, payload FROM inbox_messages WHERE to_inbox = 'planner'`)
);
check(reply === 'human|planner|response|yes', 'the reply is a row', reply);
const timeout = new Promise(resolve => setTimeout(resolve, 8000));
check((await Promise.race([asking.result, timeout])) === 'yes', 'the command that asked prints the reply');
check(await browser.eventually(`!document.title.startsWith('(')`), 'the question is no longer pending');
check(
    sql(`SELECT status FROM inbox_messages WHERE to_inbox = 'human'`) === 'read',
    'the question is marked as read in the database'
);

// ---- a message to a process that waits ----

const reader = startAgenthub('inbox', 'coder', '--wait', '30', '--as', 'coder');
check(
    await browser.eventually(`import('./store.js').then(({ state }) => state.agents.has('coder'))`, 10000),
    'an agent that only waits for mail is known to the page'
);
await browser.goTo('inbox/human/new?to=coder');
await browser.click(`document.querySelector('.new-mail textarea')`);
await browser.type('please rebase');
await browser.click(`document.querySelector('.new-mail .primary')`);
check(
    await eventually(() => reader.output().includes('please rebase'), 10000),
    'a message from the page reaches `agenthub inbox --wait`'
);
check(
    await eventually(async () => (await hash()).startsWith('#/inbox/coder/')),
    'the page shows the message that was sent',
    await hash()
);

// ---- threads ----

await browser.goTo('threads/build');
await browser.evaluate(`document.querySelector('.compose textarea').focus()`);
await browser.type('from the person');
await browser.press('Enter', CTRL);
const personMessage = `SELECT from_type, kind FROM messages WHERE content = 'from the person'`;
check(
    await eventually(() => sql(personMessage) === 'human|directive'),
    'a message from the page is a directive of the human'
);
const hostileText = '<img src=x onerror=alert(1)><script>alert(2)</script> [x](javascript:alert(3)) **b** `c`\u202eabc';
sql(insert('messages', { thread_id: 'build', from_id: 'evil', content: hostileText }));
check(
    await browser.eventually(`[...document.querySelectorAll('.message')].at(-1).textContent.includes('onerror')`),
    'hostile text is shown'
);
check(
    await browser.evaluate(
        `!document.querySelector('.timeline img, .timeline script, .timeline a[href^="javascript"]')`
    ),
    'hostile text creates no elements'
);

// ---- the keyboard: Tab reaches every control of a view from its heading ----

sql(fixtureSql());
await browser.evaluate('document.activeElement.blur()');
check(await browser.eventually(`document.title.startsWith('(')`), 'some of six agents need attention');
/** Per view: the key after `g`, and names of controls that Tab must reach. */
const TAB_STOPS = {
    now: [
        'n',
        /Ship 0.4.0/,
        /^Yes$/,
        /^No$/,
        /Reply to release-bot/,
        /^Reply$/,
        /^Mark as read$/,
        /^Dismiss$/,
        /^Message$/
    ],
    tasks: ['t', /^Running$/, /Filter tasks/, /^Tokens$/, /^Cost$/, /running/],
    // The list has one tab stop, its first row: one of the two threads written to last, in any order.
    threads: ['h', /build|docs/],
    inbox: ['i', /^New message$/, /^You/, /All mailboxes/, /^Unread$/, /^Sent$/, /^Mark \d+ as read$/, /ship it/],
    costs: ['c', /^7 days$/, /^Model$/, /^none$/, /^By agent$/, /^Download CSV: By agent$/, /watcher/],
    setup: ['s', /^Copy: agenthub .*init$/, /^Copy: sqlite3/, /^Agents$/]
};
const isLoading = `[...document.querySelectorAll('main .hint:not([hidden])')].some(e => /Loading/.test(e.textContent))`;
const focusedName = `(e => !e.closest('main') ? '' : e.ariaLabel || e.innerText?.trim() || e.placeholder || e.tagName.toLowerCase() + ':' + e.type)(document.activeElement)`;
for (const [view, [key, ...stops]] of Object.entries(TAB_STOPS)) {
    // The page expects the second key within a second, so the chord is repeated.
    const pressChord = async () => {
        await browser.press('g');
        await browser.press(key);
        return (await hash()) === '#/' + view;
    };
    check(await eventually(pressChord), `g ${key} opens ${view}`, await hash());
    await browser.eventually('!' + isLoading);
    if (view === 'costs') await browser.eventually(`document.querySelector('.costs td a, .costs th a')`);
    await browser.evaluate(`document.getElementById('main').focus()`);
    const reached = [];
    for (let i = 0; i < 40; i++) {
        await browser.press('Tab');
        const name = await browser.evaluate(focusedName);
        if (!name) break;
        reached.push(name);
    }
    const missing = stops.filter(stop => !reached.some(name => stop.test(name)));
    const reachedNames = reached.map(name => name.slice(0, 25)).join(' | ');
    check(
        !missing.length,
        view + ': Tab reaches every control',
        missing.length ? missing + ' not among ' + reachedNames : reached.length
    );
    await browser.evaluate('document.activeElement.blur()');
}

// ---- the keyboard: shortcuts ----

await browser.press('g');
await browser.press('t');
await browser.press('j');
check(await browser.evaluate(`document.activeElement.matches('.task-row')`), 'j focuses the list');
await browser.press('j');
await browser.press('Enter');
check(/^#\/tasks\/t-/.test(await hash()), 'Enter opens a task', await hash());
await browser.eventually(`document.querySelectorAll('.step').length > 5`);
const firstTask = await hash();
await browser.press(']');
check((await hash()) !== firstTask, '] opens the next task', await hash());
await browser.goTo('tasks/t-review');
await browser.eventually(
    `/error/.test(document.querySelector('.detail .toolbar').textContent) && document.querySelectorAll('.step').length > 5`
);
await browser.press('e');
check(
    (await browser.evaluate(`document.querySelector('.step[data-selected]')?.dataset.tone`)) === 'bad',
    'e selects an error'
);
const showsWaterfall = `document.querySelector('[data-waterfall]') !== null`;
if (!(await browser.evaluate(showsWaterfall))) await browser.press('w');
await browser.rendered();
check(
    await browser.evaluate(`${showsWaterfall} && document.querySelector('.lane path').hasAttribute('d')`),
    'w shows the waterfall'
);
await browser.press('Escape');
check((await hash()) === '#/tasks', 'Esc closes the task', await hash());
await browser.evaluate('history.back()');
check(await eventually(async () => (await hash()).startsWith('#/tasks/t-review')), 'Back opens it again');
// The page restores the focus a moment later.
await browser.eventually(`document.activeElement.matches('.detail h1')`);
await browser.press(' ');
check(/Paused/.test(await browser.connectionText()), 'Space pauses', await browser.connectionText());
await browser.press(' ');
await browser.press('/');
await browser.type('cursor');
check(await browser.eventually(`document.querySelectorAll('[role=option]').length`), '/ searches');
await browser.press('Enter');
check(
    await eventually(async () => (await hash()) === '#/threads/cursor'),
    'Enter opens the first result',
    await hash()
);
await browser.press('?');
check(await browser.evaluate(`document.querySelector('dialog[open] kbd') !== null`), '? shows the keyboard shortcuts');
await browser.press('Escape');
await browser.goTo('tasks?q=status%3Afailed');
check(
    await browser.eventually(`document.querySelectorAll('.task-table .row').length === 1`),
    'the URL holds the filter'
);

// ---- reduced motion ----

await browser.emulateMedia({ 'prefers-reduced-motion': 'reduce' });
await browser.goTo('now');
check(await browser.evaluate(`document.getAnimations().length === 0`), 'nothing is animated with reduced motion');
await finish(hub, browser);
