// The pictures of the README, in both themes, from `agenthub demo` at the pace of real agents. It takes about four
// minutes:
//
//   AGENTHUB_BIN=target/release/agenthub AGENTHUB_OUT=assets/screenshots node tests/page/pictures.mjs
//
// Options are those of the demo: with `--fast`, the script itself can be tried in half a minute.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { startBrowser, startDemo, check, eventually, exitWithResult } from './support.mjs';

const FOLDER = process.env.AGENTHUB_OUT;
const MAX_BYTES = 250 * 1024;
/** One round of the story, and time for the pictures. */
const SECONDS = 600;

if (!FOLDER) throw new Error('set AGENTHUB_OUT to the folder for the pictures');
const demo = await startDemo(SECONDS, ...process.argv.slice(2));
const browser = await startBrowser();
await browser.open(demo.link());
check(await browser.isLive(), 'the page is live');

/** Waits until an expression on the page's state, `s`, is true. */
async function waitFor(description, expression) {
    check(await eventually(() => browser.state(expression), SECONDS * 1000), description);
}
const PLANNER_TASK = `[...s.tasks.values()].find(t => t.agent_id === 'planner' && /^Ship /.test(t.directive))`;
const THREAD = `[...s.threads.values()].find(t => /^Checkout/.test(t.title))`;
/** The mail with the review. The page has the rows of an inbox once it was opened. */
const REVIEW = `[...(s.mailboxes.get('backend')?.rows?.values() || [])].find(mail => mail.from_agent === 'reviewer')`;

/** Writes the picture of a view in both themes. */
async function takePictures(name, route) {
    for (const theme of ['light', 'dark']) {
        await browser.emulateMedia({ 'prefers-color-scheme': theme });
        await browser.goTo(route);
        await browser.eventually(
            `![...document.querySelectorAll('main .hint')].some(e => e.offsetParent && /Loading/.test(e.textContent))`
        );
        await browser.rendered();
        const file = `${name}-${theme}`;
        await browser.screenshot(file);
        const { size } = statSync(join(FOLDER, file + '.png'));
        check(size <= MAX_BYTES, `${file}.png has at most ${MAX_BYTES} bytes`, size);
    }
}

// An agent asks for permission while most others work. The page's title counts the requests.
await waitFor(
    'an agent asks the person, and four others work',
    `/^\\(\\d/.test(document.title) && [...s.agents.values()].filter(a => a.status === 'running').length >= 5`
);
await takePictures('now', 'now');
const task = await browser.state(`${PLANNER_TASK}.task_id`);
await takePictures('task', 'tasks/' + encodeURIComponent(task));
await takePictures('costs', 'costs?range=7%20days');
// The review has come, and the agents have written to the thread of the feature.
await browser.goTo('inbox/backend');
await waitFor('the reviewer has sent the findings', '!!' + REVIEW);
await waitFor('the thread of the feature has messages', `${THREAD}?.last_seq >= 6`);
const review = await browser.state(`${REVIEW}.id`);
await takePictures('mail', 'inbox/backend/' + encodeURIComponent(review));
const thread = await browser.state(`${THREAD}.id`);
await takePictures('thread', 'threads/' + encodeURIComponent(thread));

const exception = browser.consoleLog.find(line => line.startsWith('exception'));
check(!exception, 'the page throws no exception', exception);
await demo.stop();
await exitWithResult();
