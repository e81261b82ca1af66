// The page's first load: it requests nothing from other hosts, and paints and gets its data soon.

import { startBrowser, startHub, sql, check, exitWithResult, report } from './support.mjs';
import { fixtureSql } from './fixtures.mjs';

/** The page should reach these on a laptop; the checks leave room for a loaded machine. */
const TARGET_PAINT_MS = 500;
const TARGET_DATA_MS = 700;
const MAX_PAINT_MS = 2500;
const MAX_DATA_MS = 3500;
const RUNS = 5;

const hub = await startHub();
const browser = await startBrowser();
sql(fixtureSql());
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');
const isOwnRequest = url => (/^(http|ws):/.test(url) ? new URL(url).host === hub.listen : /^(data|about):/.test(url));
const foreign = [...browser.requestedUrls].filter(url => !isOwnRequest(url));
check(!foreign.length, 'requests go to the hub only', foreign.join(', '));
const modules = [...browser.requestedUrls].filter(url => url.endsWith('.js'));
check(modules.length >= 15, 'the modules are loaded from the hub', modules.length);

const median = values => Math.round(values.sort((a, b) => a - b)[Math.floor(values.length / 2)]);
const paintTimes = [];
const dataTimes = [];
for (let i = 0; i < RUNS; i++) {
    await browser.open(hub.origin + '/#/now');
    await browser.isLive();
    await browser.eventually(`performance.getEntriesByName('first-contentful-paint').length`);
    paintTimes.push(await browser.evaluate(`performance.getEntriesByName('first-contentful-paint')[0].startTime`));
    dataTimes.push(
        await browser.evaluate(
            `Math.max(...performance.getEntriesByType('resource').filter(e => e.name.includes('/api/tasks')).map(e => e.responseEnd))`
        )
    );
}
const paint = median(paintTimes);
const data = median(dataTimes);
report(
    `first paint ${paint} ms (target ${TARGET_PAINT_MS}), first data ${data} ms (target ${TARGET_DATA_MS}), median of ${RUNS} runs`
);
check(paint < MAX_PAINT_MS && data < MAX_DATA_MS, 'the first paint and the first data come soon');
await hub.stop();
await exitWithResult();
