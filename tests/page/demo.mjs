// Pictures of every view in both themes, from `agenthub demo`; whoever changes the look
// looks at them. Asserted is that each view has something to show.

import { browser, demo, ok, done } from './support.mjs';

const d = await demo(200),
    b = await browser();
if (process.env.AGENTHUB_ASSETS) await b.serveFrom(process.env.AGENTHUB_ASSETS);
await b.go(d.url);
ok(await b.live(), 'live');
// The cast has played its parts once: builds are done, one was red and is mended, the planner asks.
ok(
    await b.until(
        `import('./store.js').then(S => { const k = [...S.state.tasks.values()]; return k.filter(t => t.status === 'completed').length >= 3 && k.some(t => t.agent_id === 'coder' && t.status === 'completed') && S.waiting().length; })`,
        90000
    ),
    'the demo is under way and asks the person'
);
const task = await b.state(`[...s.tasks.values()].find(k => k.agent_id === 'coder' && k.status === 'completed').task_id`),
    ship = await b.state(`[...s.boxes.get('human').rows.keys()].at(-1)`);
const VIEWS = {
    now: ['now', '.card'],
    tasks: ['tasks', '.trow'],
    task: ['tasks/' + encodeURIComponent(task), '.step'],
    threads: ['threads/build', '.msg'],
    inbox: ['inbox/human/' + ship, '.receipts li'],
    write: ['inbox/human/new?to=coder', '.letterform'],
    costs: ['costs?range=7%20days', '.costs td'],
    setup: ['setup', '.setup dd']
};
for (const theme of ['light', 'dark']) {
    await b.media({ 'prefers-color-scheme': theme });
    for (const [width, height, end] of [
        [1280, 800, ''],
        [320, 640, '-320']
    ]) {
        await b.size(width, height);
        for (const [name, [route, needs]] of Object.entries(VIEWS)) {
            await b.view(route);
            ok(
                await b.until(`[...document.querySelectorAll('main ${needs}')].some(e => e.offsetParent)`),
                `${name} ${theme}${end} has something to show`
            );
            await b.shot(`${name}-${theme}${end}`);
        }
    }
}
ok(
    !b.log.some(l => l.startsWith('exception')),
    'no exception',
    b.log.find(l => l.startsWith('exception'))
);
await d.stop();
await done();
