// Waking idle agents: the page says which mail wakes an agent or why none does, and the person wakes one. The sessions
// are those of hooks, and the hub decides.

import { rmSync } from 'node:fs';
import { startBrowser, startHub, sql, insert, check, finish, eventually, runHook, runAsPerson } from './support.mjs';

const WAKE_INTERVAL_MS = 2000;
const WAKE_PROMPT = 'You have mail on agenthub.';
const hub = await startHub();
const browser = await startBrowser();

/** The visible element of an agent on Now, as a JavaScript expression. */
const rowOf = agent =>
    `[...document.querySelectorAll('.agent-line, .card')].find(e => e.querySelector('a[href$="?to=${agent}"]') && e.offsetParent)`;
const noteOf = agent =>
    browser.evaluate(`${rowOf(agent)}?.querySelector('.wake:not([hidden]) .wake-text')?.textContent`);
const noteBecomes = async (agent, text) => {
    const isShown = await eventually(async () => (await noteOf(agent)) === text);
    if (!isShown) console.log('        instead:', await noteOf(agent));
    return isShown;
};
const buttonOf = agent => `[...(${rowOf(agent)}?.querySelectorAll('.wake button') || [])].find(e => e.offsetParent)`;
const hasButton = agent => browser.evaluate(`!!(${buttonOf(agent)})`);
const wakes = () =>
    sql(`SELECT state || '|' || agent || '|' || coalesce(asked_by, '') FROM wakes ORDER BY n`).split('\n');
const sendMail = (to_inbox, priority) =>
    sql(insert('inbox_messages', { from_agent: 'planner', to_inbox, priority, payload: 'look' }));
/** Leaves the board, which does not move agents between its sections while it is in use. */
const leaveBoard = () => browser.evaluate('document.activeElement.blur()');
const returnToPage = () => browser.evaluate(`dispatchEvent(new Event('focus'))`);
const requestTimes = path =>
    browser.evaluate(
        `performance.getEntriesByType('resource').filter(e => new URL(e.name).pathname === '/api/${path}').map(e => e.startTime)`
    );

/** The tool reacts to a changed file: it asks for the prompt and begins a turn with it. */
function reactToWake(agent) {
    const asked = runHook(agent, 'FileChanged');
    check(asked.code === 2 && asked.stderr.includes(WAKE_PROMPT), 'the tool gets the prompt', JSON.stringify(asked));
    runHook(agent, 'UserPromptSubmit', { prompt: WAKE_PROMPT });
}

await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');

// ---- an agent of a program, and one with a session ----

sql(insert('agents', { id: 'script' }));
const start = JSON.parse(runHook('coder', 'SessionStart', { source: 'startup', permission_mode: 'default' }).stdout);
const [watchedFile] = start.hookSpecificOutput.watchPaths;
check(await noteBecomes('coder', 'waking is off'), 'an agent with a session has a note');
check((await noteOf('script')) === undefined, 'an agent without a session has none');
check(!(await hasButton('coder')), 'without mail there is nothing to wake it for');
await browser.goTo('setup');
check(
    await browser.eventually(
        `[...document.querySelectorAll('.setup section')].some(e => /Waking is off/.test(e.innerText) && /at most 6 times an hour and 3 times in a chain/.test(e.innerText) && /wake important/.test(e.querySelector('code')?.textContent))`
    ),
    'Setup says that waking is off, the limits, and how to turn it on'
);
await browser.goTo('now');

// ---- the person turns it on, in a terminal ----

runAsPerson('wake', 'important');
await returnToPage();
check(await noteBecomes('coder', 'wakes for important mail'), 'the note follows the setting when the person returns');
runHook('coder', 'UserPromptSubmit', { prompt: 'go' });
check(await browser.eventually(`${rowOf('coder')}?.matches('.card')`), 'the agent works');
check(await noteBecomes('coder', 'wakes for important mail'), 'a working agent has the same note');
runHook('coder', 'Stop');
check(await browser.eventually(`${rowOf('coder')}?.matches('.agent-line')`), 'the agent is idle');

// ---- the person wakes it ----

sendMail('coder', 'info');
check(await browser.eventually(buttonOf('coder') + ' && 1'), 'an idle agent with mail can be woken');
check(
    (await browser.evaluate(`${buttonOf('coder')}.getAttribute('aria-label')`)) === 'Wake coder',
    'the button names the agent'
);
check(wakes().join() === '', 'mail that is not important has not woken it');
await browser.evaluate(`${buttonOf('coder')}.focus()`);
await browser.press('Enter');
check(await eventually(() => wakes().join() === 'begun|coder|human'), 'the button wakes it for the person', wakes());
check(await noteBecomes('coder', 'being woken'), 'the page shows that it is being woken');
check(!(await hasButton('coder')), 'meanwhile there is no button');
check(
    await browser.evaluate(`document.activeElement === ${rowOf('coder')}.querySelector('.wake-text')`),
    'the focus stays with the agent'
);
await leaveBoard();
reactToWake('coder');
check(wakes().join() === 'woken|coder|human', 'the session was woken', wakes());
check(await browser.eventually(`${rowOf('coder')}?.matches('.card')`), 'the woken agent works');
runHook('coder', 'Stop');
check(await browser.eventually(`${rowOf('coder')}?.matches('.agent-line')`), 'it is idle again');
check(await noteBecomes('coder', 'wakes for important mail'), 'a wake for the person does not count');

// ---- mail wakes it ----

sendMail('coder', 'urgent');
check(await eventually(() => wakes().at(-1) === 'begun|coder|'), 'urgent mail wakes it', wakes());
reactToWake('coder');
runHook('coder', 'Stop');
check(await noteBecomes('coder', 'wakes for important mail · 1 of 6 this hour'), 'the note counts the wakes');
sendMail('coder', 'urgent');
check(
    await noteBecomes('coder', 'not woken now: it was woken less than 30 seconds ago'),
    'the note says why it is not woken yet'
);
check(await browser.eventually(buttonOf('coder') + ' && 1'), 'the person can wake it nevertheless');

// ---- with its tasks and its mailbox ----

const detailNote = `document.querySelector('main .wake:not([hidden])')`;
for (const route of ['tasks/claude-s-coder', 'inbox/coder']) {
    await browser.goTo(route);
    check(
        await browser.eventually(`/^coder: (not woken now|wakes for)/.test(${detailNote}?.querySelector('.wake-text').textContent)`),
        route + ' has the note',
        await browser.evaluate(`${detailNote}?.innerText`)
    );
    check(
        await browser.eventually(`${detailNote}.querySelector('button').offsetParent !== null`),
        route + ' has the button'
    );
}

// ---- the hub refuses ----

await browser.goTo('now');
rmSync(watchedFile);
await browser.click(buttonOf('coder'));
check(
    await browser.eventually(
        `/^coder is not woken: its session has begun without waking/.test(${rowOf('coder')}.querySelector('[role=alert]').textContent)`
    ),
    'the page shows why the hub refuses',
    await browser.evaluate(`${rowOf('coder')}.innerText`)
);
await leaveBoard();
await returnToPage();
check(
    await eventually(async () => /^cannot be woken: its session has begun without waking/.test(await noteOf('coder'))),
    'the note says why it cannot be woken',
    await noteOf('coder')
);
check(!(await hasButton('coder')), 'an agent that cannot be woken has no button');

// ---- requests ----

const times = await requestTimes('wake');
const gaps = times.slice(1).map((time, i) => time - times[i]);
const shortest = Math.min(...gaps);
check(times.length > 5 && shortest > WAKE_INTERVAL_MS - 50, 'two requests are 2 s apart at least', shortest);
runAsPerson('wake', 'off');
await returnToPage();
check(await noteBecomes('coder', 'waking is off'), 'waking is off again');
const before = (await requestTimes('wake')).length;
const polls = (await requestTimes('agents')).length;
await eventually(async () => (await requestTimes('agents')).length >= polls + 2);
check((await requestTimes('wake')).length === before, 'without changes there are no requests');
runHook('coder', 'SessionEnd', { reason: 'exit' });
check(
    await eventually(async () => (await noteOf('coder')) === undefined),
    'an agent without an open session has no note',
    await noteOf('coder')
);

// ---- a page without a key ----

runHook('reviewer', 'SessionStart', { source: 'startup', permission_mode: 'default' });
sendMail('reviewer', 'info');
await hub.stop();
const openHub = await startHub({ args: ['--no-auth'] });
await browser.open(openHub.origin);
check(await browser.eventually(buttonOf('reviewer') + ' && 1'), 'a hub without authentication opens the page without a key');
await browser.click(buttonOf('reviewer'));
check(
    await browser.eventually(
        `/^only the person may do this/.test(${rowOf('reviewer')}.querySelector('[role=alert]').textContent)`
    ),
    'without a key the page wakes no agent, and says why',
    await browser.evaluate(`${rowOf('reviewer')}.innerText`)
);
check(!wakes().some(wake => wake.includes('reviewer')), 'no wake has begun', wakes());
await finish(openHub, browser);
