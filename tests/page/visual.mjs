// Every view in both themes, from 320 to 2,560 px: nothing overflows, axe finds no serious problem. The
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
    agents: 'agents',
    agent: 'agents/coder-1',
    'idle-agent': 'agents/docs-writer',
    'unknown-agent': 'agents/stranger',
    tasks: 'tasks',
    task: 'tasks/t-watch',
    threads: 'threads',
    thread: 'threads/build',
    inbox: 'inbox',
    mail: 'inbox/human/ship',
    sent: 'inbox/human/forged?show=sent',
    write: 'inbox/human/new',
    costs: 'costs?range=30%20days',
    setup: 'setup'
};
const AXE = process.env.AGENTHUB_NPM + '/node_modules/axe-core/axe.min.js';
/** The only view to check, for work on that view. */
const ONLY = process.env.ONLY;
/** [width, height, suffix of the screenshot, whether axe runs: it takes a second, and the wide layouts share their colours]. */
const SIZES = [
    [1440, 900, '', true],
    [320, 640, '-320', true],
    [390, 844, '-390', false],
    [820, 1180, '-820', false],
    [2560, 1440, '-2560', false]
];
const THEMES = ['light', 'dark'];
const HUES = 12;

const hub = await startHub();
const browser = await startBrowser();

/** Checks that axe finds nothing serious. */
async function checkAccessibility(description) {
    await browser.evaluate(readText(AXE) + ';0');
    const violations = await browser.evaluate(
        `axe.run().then(r => r.violations.filter(v => /serious|critical/.test(v.impact)).map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 140) + ' ' + (n.any[0]?.message || n.failureSummary)).join(' || ')))`
    );
    check(!violations.length, description + ': axe finds nothing serious', violations.join('\n         '));
}

/** Checks that nothing overflows sideways, and that targets are large enough. */
async function checkLayout(description) {
    const overflowing = await browser.evaluate(
        `[document.documentElement, document.body, ...document.querySelectorAll('main, main *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && (e.closest('main > *') === e || /auto|scroll/.test(getComputedStyle(e).overflowY) && !e.matches('pre, .scroll, .lines, .json, .rendered-table'))).map(e => e.className + ' ' + e.scrollWidth + ' of ' + e.clientWidth)`
    );
    check(!overflowing.length, description + ': nothing overflows sideways', overflowing.join(', '));
    // A phone zooms out of a page that is wider than its screen.
    check(await browser.evaluate('visualViewport.scale === 1'), description + ': the page is as wide as the screen');
    // WCAG 2.2, 2.5.8: targets are at least 24 px, except links within a text.
    const small = await browser.evaluate(
        `[...document.querySelectorAll('a[href], button, summary, input, select')].filter(e => e.offsetParent && !e.closest('.text, .mail-body, .visually-hidden, .skip-link') && !e.matches('[type=checkbox]')).filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.height < 23.5 || r.width < 23.5); }).map(e => e.className + ' ' + e.textContent.slice(0, 20) + ' ' + Math.round(e.getBoundingClientRect().width) + 'x' + Math.round(e.getBoundingClientRect().height)).slice(0, 5)`
    );
    check(!small.length, description + ': no target is smaller than 24 px', small.join(' | '));
}

// ---- the lock screen ----

await browser.open(hub.origin);
check(await browser.eventually(`document.querySelector('.lock')`), 'without a key the page shows the lock screen');
for (const theme of THEMES) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    for (const [width, height, suffix] of SIZES) {
        await browser.resize(width, height);
        await browser.rendered();
        await browser.screenshot('fixture-lock-' + theme + suffix);
        await checkLayout('lock ' + theme + suffix);
    }
    await checkAccessibility('lock ' + theme);
}
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live', await browser.connectionText());

/** Calls `visit(description, runsAxe)` for these views in both themes and all sizes. */
async function inEveryLayout(views, visit) {
    for (const theme of THEMES) {
        await browser.emulateMedia({ 'prefers-color-scheme': theme });
        for (const [width, height, suffix, runsAxe] of SIZES) {
            await browser.resize(width, height);
            for (const [name, route] of Object.entries(views)) {
                if (ONLY && ONLY !== name) continue;
                await browser.goTo(route);
                await browser.eventually('!' + isLoading);
                await visit(name, theme + suffix, runsAxe);
            }
        }
    }
}
const isLoading = `[...document.querySelectorAll('main .hint, main .panel .facts')].some(e => e.offsetParent && /Loading/.test(e.textContent))`;

// ---- views without data ----

await inEveryLayout(
    { 'no-agents': 'now', 'no-agent-list': 'agents', 'no-tasks': 'tasks', 'no-threads': 'threads', 'no-mail': 'inbox', 'no-costs': 'costs' },
    async (name, layout, runsAxe) => {
        await browser.screenshot(`fixture-${name}-${layout}`);
        await checkLayout(`${name} ${layout}`);
        if (runsAxe) await checkAccessibility(`${name} ${layout}`);
    }
);

// ---- every view ----

sql(fixtureSql());
// Two idle agents with sessions; mail waits for one.
for (const agent of ['docs-writer', 'release-bot']) runHook(agent, 'SessionStart', { source: 'startup', permission_mode: 'default' });
sql(insert('inbox_messages', { from_agent: 'planner', to_inbox: 'docs-writer', payload: 'The draft is ready.' }));
runAsPerson('wake', 'important');
await browser.goTo('now');
check(await browser.eventually(`document.querySelectorAll('.card').length`), 'the board shows the agents');
const openOneStep = `(d => { d && (d.open = true); })([...document.querySelectorAll('.step details:not([hidden])')].at(-4))`;
await inEveryLayout(VIEWS, async (name, layout, runsAxe) => {
    if (name === 'task') await browser.evaluate(openOneStep);
    await browser.rendered();
    await browser.screenshot(`fixture-${name}-${layout}`);
    if (name === 'task') {
        await browser.press('w');
        await browser.rendered();
        await browser.screenshot(`fixture-waterfall-${layout}`);
        await checkLayout(`waterfall ${layout}`);
        await browser.press('w');
    }
    await checkLayout(`${name} ${layout}`);
    if (runsAxe) await checkAccessibility(`${name} ${layout}`);
});

// ---- parts that no view shows now: the hues of agents, banners ----

await browser.resize(1440, 900);
await browser.goTo('setup');
const samples = `
    <p>${Array.from({ length: HUES }, (_, hue) => `<span class="initials" data-mark="agent" data-hue="${hue}">a${hue}</span>`).join(' ')}</p>
    <p><span class="tag" data-tone="stale" data-sign="◌">stale</span> <span class="tag" data-tone="gone" data-sign="○">gone</span></p>
    <p data-stale><time>4 min</time></p>
    <div class="banner" data-state="disconnected"><p>Disconnected. Showing data from 01:41. Run <code>agenthub serve</code>.</p></div>
    <div class="banner" data-state="error"><p>The disk is full.</p></div>`;
for (const theme of THEMES) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    await browser.evaluate(
        `document.querySelector('.samples')?.remove(); document.querySelector('.setup').prepend(Object.assign(document.createElement('section'), { className: 'samples', innerHTML: ${JSON.stringify(samples)} }))`
    );
    await browser.rendered();
    await browser.screenshot('fixture-samples-' + theme);
    await checkAccessibility('hues, tags and banners ' + theme);
    const colours = await browser.evaluate(
        `new Set([...document.querySelectorAll('.samples .initials')].map(e => getComputedStyle(e).backgroundColor).filter(colour => colour !== 'rgba(0, 0, 0, 0)')).size`
    );
    check(colours === HUES, `${theme}: every hue has its colour`, colours);
}

// ---- dialogs, paper and forced colours ----

await browser.goTo('now');
for (const theme of THEMES) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    for (const [width, height, suffix, runsAxe] of SIZES) {
        await browser.resize(width, height);
        await browser.press('k', CTRL);
        await browser.type('cursor');
        await browser.rendered();
        await browser.screenshot(`fixture-palette-${theme}${suffix}`);
        await checkLayout(`palette ${theme}${suffix}`);
        if (runsAxe) await checkAccessibility(`palette ${theme}${suffix}`);
        await browser.press('Escape');
        await browser.evaluate('document.activeElement.blur()');
        await browser.press('?');
        await browser.screenshot(`fixture-shortcuts-${theme}${suffix}`);
        await checkLayout(`keyboard shortcuts ${theme}${suffix}`);
        if (runsAxe) await checkAccessibility(`keyboard shortcuts ${theme}${suffix}`);
        await browser.press('Escape');
    }
}

await browser.resize(820, 1180);
await browser.emulateMedia({ 'prefers-color-scheme': 'dark' }, 'print');
const { write: _form, ...PRINTED_VIEWS } = VIEWS;
for (const [name, route] of Object.entries(PRINTED_VIEWS)) {
    await browser.goTo(route);
    await browser.eventually('!' + isLoading);
    await browser.screenshot(`fixture-print-${name}`);
    check(
        await browser.evaluate(
            `getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)' && getComputedStyle(document.querySelector('.sidebar')).display === 'none' && document.querySelector('main').innerText.length > 100`
        ),
        `${name} on paper: the view on white, without the sidebar`
    );
    const cut = await browser.evaluate(
        `[...document.querySelectorAll('main *')].filter(e => e.offsetParent && e.clientHeight && !e.closest('svg') && /hidden|auto|scroll/.test(getComputedStyle(e).overflowY) && e.scrollHeight > e.clientHeight + 1).map(e => e.className)`
    );
    check(!cut.length, `${name} on paper: nothing is cut`, cut.join(', '));
}
await browser.resize(1440, 900);
await browser.emulateMedia({ 'forced-colors': 'active' });
await browser.goTo('now');
await browser.screenshot('fixture-forced-colors');
await checkLayout('forced colours');
await checkAccessibility('forced colours');
check(
    await browser.evaluate(`getComputedStyle(document.querySelector('[data-view=now]')).outlineStyle === 'solid'`),
    'forced colours: the current view is outlined'
);
report([...new Set(browser.consoleLog)].join('\n         '));
check(!browser.consoleLog.some(line => line.startsWith('exception')), 'the page throws no exception');
await hub.stop();
await exitWithResult();
