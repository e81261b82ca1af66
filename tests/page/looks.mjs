// Every view in both themes and sizes: nothing sticks out, axe finds nothing serious. The
// pictures are of the scene, for what `agenthub demo` (demo.mjs) cannot show.

import { browser, hub, sql, ok, done, file, say } from './support.mjs';
import { scene } from './scene.mjs';

const VIEWS = {
    now: 'now',
    tasks: 'tasks',
    task: 'tasks/t-watch',
    threads: 'threads/build',
    inbox: 'inbox/human/ship',
    write: 'inbox/human/new',
    costs: 'costs?range=30%20days',
    setup: 'setup'
};
const axe = process.env.AGENTHUB_NPM + '/node_modules/axe-core/axe.min.js',
    only = process.env.ONLY;
const h = await hub();
sql(scene());
const b = await browser();
await b.go(h.base);
ok(await b.until(`document.querySelector('.lock')`), 'without a token the page says what to do');
await b.shot('scene-lock-light');
await upright('lock');
await b.go(h.url);
ok(await b.live(), 'live', await b.pill());

/** Nothing sticks out of its place, and axe finds nothing serious. */
async function upright(what) {
    const wide = await b.ev(
        `[document.documentElement, document.body, ...document.querySelectorAll('main, main *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && (e.closest('main > *') === e || /auto|scroll/.test(getComputedStyle(e).overflowY) && !e.matches('pre, .scroll'))).map(e => e.className + ' ' + e.scrollWidth + ' of ' + e.clientWidth)`
    );
    ok(!wide.length, what + ': nothing sticks out sideways', wide.join(', '));
    // WCAG 2.2 2.5.8: what is touched is 24 px, but for links inside a text.
    const small = await b.ev(
        `[...document.querySelectorAll('a, button, summary, input, select')].filter(e => e.offsetParent && !e.closest('.text, .letter, .sr, .skip') && !e.matches('[type=checkbox]')).filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.height < 23.5 || r.width < 23.5); }).map(e => e.className + ' ' + e.textContent.slice(0, 20) + ' ' + Math.round(e.getBoundingClientRect().width) + 'x' + Math.round(e.getBoundingClientRect().height)).slice(0, 5)`
    );
    ok(!small.length, what + ': nothing to touch is smaller than 24 px', small.join(' | '));
    await b.ev(file(axe) + ';0');
    const bad = await b.ev(
        `axe.run().then(r => r.violations.filter(v => /serious|critical/.test(v.impact)).map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 140) + ' ' + (n.any[0]?.message || n.failureSummary)).join(' || ')))`
    );
    ok(!bad.length, what + ': axe finds nothing serious', bad.join('\n         '));
}

for (const [theme, feature] of [
    ['light', 'light'],
    ['dark', 'dark']
]) {
    await b.media({ 'prefers-color-scheme': feature });
    for (const [width, height, end] of [
        [1280, 800, ''],
        [320, 720, '-320']
    ]) {
        await b.size(width, height);
        for (const [name, route] of Object.entries(VIEWS)) {
            if (only && only !== name) continue;
            await b.view(route);
            await b.until(`![...document.querySelectorAll('main .hint:not([hidden])')].some(e => /Loading|Adding/.test(e.textContent))`);
            if (name === 'task') await b.ev(`(d => { d && (d.open = true); })([...document.querySelectorAll('.step details:not([hidden])')].at(-4))`);
            await b.drawn();
            await b.shot(`scene-${name}-${theme}${end}`);
            if (name === 'task' && !end) {
                await b.key('w');
                await b.drawn();
                await b.shot(`scene-waterfall-${theme}`);
                await b.key('w');
            }
            await upright(`${name} ${theme}${end}`);
        }
    }
}
await b.size(1280, 800);
await b.view('now');
await b.key('k', 2);
await b.type('cursor');
await b.drawn();
await b.shot('scene-palette-dark');
await upright('palette');
await b.key('Escape');
await b.ev('document.activeElement.blur()');
await b.key('?');
await b.shot('scene-keys-dark');
await upright('keys');
await b.key('Escape');
await b.media({ 'forced-colors': 'active' });
await b.view('now');
await b.shot('scene-forced');
await upright('forced colours');
ok(
    await b.ev(`getComputedStyle(document.querySelector('[data-view=now]')).outlineStyle === 'solid'`),
    'forced colours: the current view is outlined'
);
say([...new Set(b.log)].join('\n         '));
ok(!b.log.some(l => l.startsWith('exception')), 'no exception on the way');
await h.stop();
await done();
