// Screenshots of every view in both themes with the data of `agenthub demo`. Look at them after a
// change of the layout. The checks test only that each view shows data.

import { startBrowser, startDemo, check, eventually, exitWithResult } from './support.mjs';

const demo = await startDemo(200, '--fast');
const browser = await startBrowser();
await browser.open(demo.link());
check(await browser.isLive(), 'the page is live');
/** An expression for the planner's task of the story, which has calls of a subagent. */
const STORY_TASK = `[...s.tasks.values()].find(task => task.agent_id === 'planner' && /^Ship /.test(task.directive))`;
// The planner has divided the work, and an agent asks the person: the title counts the requests.
check(
    await eventually(
        () => browser.state(`!!${STORY_TASK} && s.mailboxes.has('backend') && /^\\(\\d/.test(document.title)`),
        90000
    ),
    'the agents of the demo work, and one asks the person'
);
const task = await browser.state(`${STORY_TASK}.task_id`);
const mail = await browser.state(`[...s.mailboxes.get('human').rows.keys()].at(-1)`);
/** [route, selector of what the view must show] */
const VIEWS = {
    now: ['now', '.card'],
    tasks: ['tasks', '.task-row'],
    task: ['tasks/' + encodeURIComponent(task), '.step'],
    threads: ['threads/staging', '.message'],
    inbox: ['inbox/human/' + mail, '.receipts li'],
    write: ['inbox/human/new?to=backend', '.new-mail'],
    costs: ['costs?range=7%20days', '.costs td'],
    setup: ['setup', '.setup dd']
};
for (const theme of ['light', 'dark']) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    for (const [width, height, suffix] of [
        [1280, 800, ''],
        [320, 640, '-320']
    ]) {
        await browser.resize(width, height);
        for (const [name, [route, selector]] of Object.entries(VIEWS)) {
            await browser.goTo(route);
            check(
                await browser.eventually(
                    `[...document.querySelectorAll('main ${selector}')].some(e => e.offsetParent)`
                ),
                `${name} ${theme}${suffix} shows data`
            );
            await browser.screenshot(`${name}-${theme}${suffix}`);
        }
    }
}
const exception = browser.consoleLog.find(line => line.startsWith('exception'));
check(!exception, 'the page throws no exception', exception);
await demo.stop();
await exitWithResult();
