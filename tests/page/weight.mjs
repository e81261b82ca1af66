// How heavy the page is, whom it asks, how soon it shows something.

import { spawnSync } from 'node:child_process';
import { browser, hub, sql, ok, done, say } from './support.mjs';
import { scene } from './scene.mjs';

const packs = bytes => spawnSync('gzip', ['-9'], { input: bytes }).stdout.length;
const RAW = 110 * 1024,
    PACKED = 35 * 1024,
    h = await hub(),
    b = await browser();
sql(scene());
await b.go(h.url);
ok(await b.live(), 'live');
const own = [...b.asked].filter(u => u.startsWith('http') && !u.includes('/api/'));
ok(
    [...b.asked].every(u => (/^(http|ws):/.test(u) ? new URL(u).host === h.listen : /^(data|about):/.test(u))),
    'no request to any other host'
);

let all = [],
    single = 0;
// Like beside like: the style, the page, the modules.
const kind = u => u.split('.').at(-1) + u;
for (const url of [...new Set(own.map(u => u.split('#')[0]))].sort((a, b) => (kind(a) < kind(b) ? -1 : 1))) {
    const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
    all.push(bytes);
    single += packs(bytes);
}
const raw = all.reduce((n, a) => n + a.length, 0),
    packed = packs(Buffer.concat(all));
say(`${all.length} files, ${raw} bytes; gzip ${packed} together (${PACKED} at most), ${single} one by one`);
ok(all.length >= 19 && raw > 50000, 'the whole page was counted');
ok(raw <= RAW, `${raw} bytes are at most ${RAW}`);
ok(packed <= PACKED, `${packed} bytes gzip are at most ${PACKED}`);

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
