// Every view in both themes and two sizes: nothing overflows, axe finds no serious problem. The
// screenshots show the fixtures, for states that `agenthub demo` (demo.mjs) does not reach.

import {
    startBrowser,
    startHub,
    sql,
    insert,
    check,
    exitWithResult,
    readText,
    report,
    runHook,
    runAsPerson,
    CTRL
} from './support.mjs';
import { fixtureSql } from './fixtures.mjs';

const VIEWS = {
    now: 'now',
    tasks: 'tasks',
    task: 'tasks/t-watch',
    threads: 'threads/build',
    inbox: 'inbox/human/ship',
    sent: 'inbox/human/forged?show=sent',
    write: 'inbox/human/new',
    costs: 'costs?range=30%20days',
    setup: 'setup'
};
const AXE = process.env.AGENTHUB_NPM + '/node_modules/axe-core/axe.min.js';
/** The only view to check, for work on that view. */
const ONLY = process.env.ONLY;

const hub = await startHub();
sql(fixtureSql());
// Two idle agents with sessions; mail waits for one.
for (const agent of ['docs-writer', 'release-bot']) runHook(agent, 'SessionStart', { source: 'startup', permission_mode: 'default' });
sql(insert('inbox_messages', { from_agent: 'planner', to_inbox: 'docs-writer', payload: 'The draft is ready.' }));
runAsPerson('wake', 'important');
const browser = await startBrowser();

/** Checks that nothing overflows sideways, that targets are large enough, and that axe finds nothing serious. */
async function checkLayout(description) {
    const overflowing = await browser.evaluate(
        `[document.documentElement, document.body, ...document.querySelectorAll('main, main *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && (e.closest('main > *') === e || /auto|scroll/.test(getComputedStyle(e).overflowY) && !e.matches('pre, .scroll'))).map(e => e.className + ' ' + e.scrollWidth + ' of ' + e.clientWidth)`
    );
    check(!overflowing.length, description + ': nothing overflows sideways', overflowing.join(', '));
    // WCAG 2.2, 2.5.8: targets are at least 24 px, except links within a text.
    const small = await browser.evaluate(
        `[...document.querySelectorAll('a, button, summary, input, select')].filter(e => e.offsetParent && !e.closest('.text, .mail-body, .visually-hidden, .skip-link') && !e.matches('[type=checkbox]')).filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.height < 23.5 || r.width < 23.5); }).map(e => e.className + ' ' + e.textContent.slice(0, 20) + ' ' + Math.round(e.getBoundingClientRect().width) + 'x' + Math.round(e.getBoundingClientRect().height)).slice(0, 5)`
    );
    check(!small.length, description + ': no target is smaller than 24 px', small.join(' | '));
    await browser.evaluate(readText(AXE) + ';0');
    const violations = await browser.evaluate(
        `axe.run().then(r => r.violations.filter(v => /serious|critical/.test(v.impact)).map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 140) + ' ' + (n.any[0]?.message || n.failureSummary)).join(' || ')))`
    );
    check(!violations.length, description + ': axe finds nothing serious', violations.join('\n         '));
}

// ---- the lock screen ----

await browser.open(hub.origin);
check(await browser.eventually(`document.querySelector('.lock')`), 'without a key the page shows the lock screen');
for (const theme of ['light', 'dark']) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    await browser.screenshot('fixture-lock-' + theme);
    await checkLayout('lock ' + theme);
}
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live', await browser.connectionText());

// ---- every view ----

const isLoading = `[...document.querySelectorAll('main .hint:not([hidden])')].some(e => /Loading/.test(e.textContent))`;
const openOneStep = `(d => { d && (d.open = true); })([...document.querySelectorAll('.step details:not([hidden])')].at(-4))`;
for (const theme of ['light', 'dark']) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    for (const [width, height, suffix] of [
        [1280, 800, ''],
        [320, 720, '-320']
    ]) {
        await browser.resize(width, height);
        for (const [name, route] of Object.entries(VIEWS)) {
            if (ONLY && ONLY !== name) continue;
            await browser.goTo(route);
            await browser.eventually('!' + isLoading);
            if (name === 'task') await browser.evaluate(openOneStep);
            await browser.rendered();
            await browser.screenshot(`fixture-${name}-${theme}${suffix}`);
            if (name === 'task' && !suffix) {
                await browser.press('w');
                await browser.rendered();
                await browser.screenshot(`fixture-waterfall-${theme}`);
                await browser.press('w');
            }
            await checkLayout(`${name} ${theme}${suffix}`);
        }
    }
}

// ---- dialogs and forced colours ----

await browser.resize(1280, 800);
await browser.goTo('now');
await browser.press('k', CTRL);
await browser.type('cursor');
await browser.rendered();
await browser.screenshot('fixture-palette-dark');
await checkLayout('palette');
await browser.press('Escape');
await browser.evaluate('document.activeElement.blur()');
await browser.press('?');
await browser.screenshot('fixture-shortcuts-dark');
await checkLayout('keyboard shortcuts');
await browser.press('Escape');
await browser.emulateMedia({ 'forced-colors': 'active' });
await browser.goTo('now');
await browser.screenshot('fixture-forced-colors');
await checkLayout('forced colours');
check(
    await browser.evaluate(`getComputedStyle(document.querySelector('[data-view=now]')).outlineStyle === 'solid'`),
    'forced colours: the current view is outlined'
);
report([...new Set(browser.consoleLog)].join('\n         '));
check(!browser.consoleLog.some(line => line.startsWith('exception')), 'the page throws no exception');
await hub.stop();
await exitWithResult();
