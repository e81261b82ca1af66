// A person's round: the first row brings the empty page to life, a question is answered by
// mouse, a message typed in the page reaches its reader, hostile text stays text, and the
// keyboard alone reaches every view.

import { agenthub, browser, hub, sql, insert, ok, end, until } from './support.mjs';
import { scene } from './scene.mjs';

const h = await hub(),
    b = await browser(),
    hash = () => b.ev('location.hash');
await b.go(h.url);
ok(await b.live(), 'live');
ok(await b.until(`!document.querySelector('.empty').hidden && document.querySelector('.empty code')`), 'the empty page has commands to copy');
sql(insert('messages', { thread_id: 'build', from_id: 'planner', content: 'tests are green' }));
ok(
    await b.until(`document.querySelector('.empty').hidden && document.querySelector('.feed').textContent.includes('tests are green')`),
    'the first row brings it to life'
);

// An agent asks; the person answers by mouse.
const agent = agenthub('ask', 'human', 'ship it?', '--wait', '60', '--from', 'planner');
const button = s => `[...document.querySelectorAll('.ask button')].find(e => !e.hidden && e.textContent === '${s}')`;
ok(await b.until(button('Yes') + ' && 1'), 'the question stands on Now');
ok(await b.until(`document.title.startsWith('(1)')`), 'and in the title', await b.ev('document.title'));
await b.click(button('Yes'));
const answer = await until(() => sql(`SELECT from_agent, to_inbox, message_type, payload FROM inbox_messages WHERE to_inbox = 'planner'`));
ok(answer === 'human|planner|response|yes', 'the answer is a row', answer);
ok((await Promise.race([agent.ended, new Promise(r => setTimeout(r, 8000))])) === 'yes', 'the agent that asked prints it');
ok(await b.until(`!document.title.startsWith('(')`), 'the answered question is read');
ok(sql(`SELECT status FROM inbox_messages WHERE to_inbox = 'human'`) === 'read', 'in the file, too');

// A message typed in the page reaches one who waits.
const reader = agenthub('inbox', 'coder', '--wait', '30', '--as', 'coder');
ok(await b.until(`import('./store.js').then(S => S.state.agents.has('coder'))`, 10000), 'one who only waits for mail is known to the page');
await b.view('inbox/human/new?to=coder');
await b.click(`document.querySelector('.letterform textarea')`);
await b.type('please rebase');
await b.click(`document.querySelector('.letterform .go')`);
ok(await until(() => reader.out().includes('please rebase'), 10000), 'a message typed in the page reaches an `inbox --wait`');
ok(await until(async () => (await hash()).startsWith('#/inbox/coder/')), 'and stands before the person as sent', await hash());

// Words in a thread, by keyboard.
await b.view('threads/build');
await b.ev(`document.querySelector('.compose textarea').focus()`);
await b.type('from the person');
await b.key('Enter', 2);
ok(
    await until(() => sql(`SELECT from_type, kind FROM messages WHERE content = 'from the person'`) === 'human|directive'),
    'a directive written in the thread is the human’s'
);
sql(
    insert('messages', {
        thread_id: 'build',
        from_id: 'evil',
        content: '<img src=x onerror=alert(1)><script>alert(2)</script> [x](javascript:alert(3)) **b** `c`\u202eabc'
    })
);
ok(await b.until(`[...document.querySelectorAll('.msg')].at(-1).textContent.includes('onerror')`), 'hostile text is shown');
ok(await b.ev(`!document.querySelector('.log img, .log script, .log a[href^="javascript"]')`), 'as text');

// Keyboard alone, through every view: from its heading Tab reaches what the view is for.
sql(scene());
await b.ev('document.activeElement.blur()');
ok(await b.until(`document.title.startsWith('(')`), 'a morning of six agents, and some need the person');
const STOPS = {
    now: ['n', /Ship 0.4.0/, /^Yes$/, /^No$/, /Answer release-bot/, /^Answer$/, /^Mark read$/, /^Dismiss$/, /^Message$/],
    tasks: ['t', /^Running$/, /Filter tasks/, /^Tokens$/, /^Cost$/, /running/],
    // One stop for the list, at its first row: the two last written to, by chance in the same millisecond or not.
    threads: ['h', /build|docs/],
    inbox: ['i', /^Write$/, /^You/, /Every mailbox/, /^Unread$/, /^Sent$/, /^Mark \d+ read$/, /ship it/],
    costs: ['c', /^7 days$/, /^Model$/, /^none$/, /^By agent$/, /^CSV: By agent$/, /watcher/],
    setup: ['s', /^Copy: agenthub .*init$/, /^Copy: sqlite3/, /^Agents seen$/]
};
for (const [view, [key, ...stops]] of Object.entries(STOPS)) {
    // Both keys have to come within a second.
    const chord = async () => {
        await b.key('g');
        await b.key(key);
        return (await hash()) === '#/' + view;
    };
    ok(await until(chord), 'g ' + key + ' opens ' + view, await hash());
    await b.until(`![...document.querySelectorAll('main .hint:not([hidden])')].some(e => /Loading|Adding/.test(e.textContent))`);
    if (view === 'costs') await b.until(`document.querySelector('.costs td a, .costs th a')`);
    await b.ev(`document.getElementById('main').focus()`);
    const met = [];
    for (let i = 0; i < 40; i++) {
        await b.key('Tab');
        const at = await b.ev(
            `(e => !e.closest('main') ? '' : e.ariaLabel || e.innerText?.trim() || e.placeholder || e.tagName.toLowerCase() + ':' + e.type)(document.activeElement)`
        );
        if (!at) break;
        met.push(at);
    }
    const missing = stops.filter(s => !met.some(m => s.test(m)));
    ok(
        !missing.length,
        view + ': Tab reaches all of it',
        missing.length ? missing + ' not among ' + met.map(m => m.slice(0, 25)).join(' | ') : met.length
    );
    await b.ev('document.activeElement.blur()');
}
await b.key('g');
await b.key('t');
await b.key('j');
ok(await b.ev(`document.activeElement.matches('.trow')`), 'j reaches the list');
await b.key('j');
await b.key('Enter');
ok(/^#\/tasks\/t-/.test(await hash()), 'Enter opens a task', await hash());
await b.until(`document.querySelectorAll('.step').length > 5`);
const first = await hash();
await b.key(']');
ok((await hash()) !== first, '] opens the next', await hash());
await b.view('tasks/t-review');
await b.until(`/error/.test(document.querySelector('.detail .bar').textContent) && document.querySelectorAll('.step').length > 5`);
await b.key('e');
ok((await b.ev(`document.querySelector('.step[data-at]')?.dataset.tone`)) === 'bad', 'e goes to an error');
if (!(await b.ev(`document.querySelector('[data-fall]') !== null`))) await b.key('w');
await b.drawn();
ok(await b.ev(`document.querySelector('[data-fall]') !== null && document.querySelector('.lane path').hasAttribute('d')`), 'w shows the waterfall');
await b.key('Escape');
ok((await hash()) === '#/tasks', 'Esc goes back', await hash());
await b.ev('history.back()');
ok(await until(async () => (await hash()).startsWith('#/tasks/t-review')), 'Back works');
// The page puts the focus where it belongs, a moment after.
await b.until(`document.activeElement.matches('.detail h1')`);
await b.key(' ');
ok(/Paused/.test(await b.pill()), 'Space pauses', await b.pill());
await b.key(' ');
await b.key('/');
await b.type('cursor');
ok(await b.until(`document.querySelectorAll('[role=option]').length`), '/ finds');
await b.key('Enter');
ok(await until(async () => (await hash()) === '#/threads/cursor'), 'and opens', await hash());
await b.key('?');
ok(await b.ev(`document.querySelector('dialog[open] kbd') !== null`), '? shows the keys');
await b.key('Escape');
await b.view('tasks?q=status%3Afailed');
ok(await b.until(`document.querySelectorAll('.table .row').length === 1`), 'the URL holds the filter');

// Still, and in few colours.
await b.media({ 'prefers-reduced-motion': 'reduce' });
await b.view('now');
ok(await b.ev(`document.getAnimations().length === 0`), 'nothing moves where motion is not wanted');
await end(h, b);
