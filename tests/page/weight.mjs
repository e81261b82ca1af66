// The page's first load: it requests nothing from other hosts, and paints and gets its data soon.

import { browser, hub, sql, ok, done, say } from './support.mjs';
import { scene } from './scene.mjs';

const h = await hub(),
    b = await browser();
sql(scene());
await b.go(h.url);
ok(await b.live(), 'live');
ok(
    [...b.asked].every(u => (/^(http|ws):/.test(u) ? new URL(u).host === h.listen : /^(data|about):/.test(u))),
    'no request to any other host'
);
ok([...b.asked].filter(u => u.endsWith('.js')).length >= 15, 'the modules were loaded from the hub');

const paints = [],
    data = [];
for (let i = 0; i < 5; i++) {
    await b.go(h.base + '/#/now');
    await b.live();
    await b.until(`performance.getEntriesByName('first-contentful-paint').length`);
    paints.push(await b.ev(`performance.getEntriesByName('first-contentful-paint')[0].startTime`));
    data.push(await b.ev(`Math.max(...performance.getEntriesByType('resource').filter(e => e.name.includes('/api/tasks')).map(e => e.responseEnd))`));
}
const middle = l => Math.round(l.sort((a, b) => a - b)[2]);
say(`first paint ${middle(paints)} ms (aim 500), first data ${middle(data)} ms (aim 700), middle of five`);
ok(middle(paints) < 2500 && middle(data) < 3500, 'it shows something soon, on any machine');
await h.stop();
await done();
