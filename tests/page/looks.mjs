// Every view in both themes and sizes, in pictures and through axe.

import { existsSync } from 'node:fs';
import { browser, hub, sql, ok, done, file, say } from './support.mjs';
import { scene } from './scene.mjs';

const VIEWS = { now: 'now', tasks: 'tasks', task: 'tasks/t-watch', threads: 'threads/build', inbox: 'inbox/human/ship', write: 'inbox/human/new', costs: 'costs?range=30%20days', setup: 'setup' };
const axe = process.env.AGENTHUB_AXE, only = process.env.ONLY;
const h = await hub();
sql(scene());
const b = await browser();
await b.go(h.base);
ok(await b.until(`document.querySelector('.lock')`), 'without a token the page says what to do');
await b.shot('lock-light');
await b.go(h.url);
ok(await b.live(), 'live', await b.pill());

for (const [theme, feature] of [['light', 'light'], ['dark', 'dark']]) {
  await b.media({ 'prefers-color-scheme': feature });
  for (const [width, height, end] of [[1280, 800, ''], [320, 720, '-320']]) {
    await b.size(width, height);
    for (const [name, route] of Object.entries(VIEWS)) {
      if (only && only !== name) continue;
      await b.view(route);
      await b.until(`![...document.querySelectorAll('main .hint:not([hidden])')].some(e => /Loading|Adding/.test(e.textContent))`);
      if (name === 'task') await b.ev(`(d => { d && (d.open = true); })([...document.querySelectorAll('.step details:not([hidden])')].at(-4))`);
      await b.drawn();
      await b.shot(`${name}-${theme}${end}`);
      if (name === 'task' && !end) { await b.key('w'); await b.drawn(); await b.shot(`waterfall-${theme}`); await b.key('w'); }
      ok(await b.ev('document.documentElement.scrollWidth <= innerWidth'), `${name} ${theme}${end}: nothing sticks out sideways`);
      if (axe && existsSync(axe)) {
        await b.ev(file(axe) + ';0');
        const bad = await b.ev(`axe.run().then(r => r.violations.filter(v => /serious|critical/.test(v.impact)).map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 140) + ' ' + (n.any[0]?.message || n.failureSummary)).join(' || ')))`);
        ok(!bad.length, `${name} ${theme}${end}: axe finds nothing serious`, bad.join('\n         '));
      }
    }
  }
}
await b.size(1280, 800);
await b.view('now');
await b.key('k', 2);
await b.type('cursor');
await b.drawn();
await b.shot('palette-dark');
await b.key('Escape');
await b.ev('document.activeElement.blur()');
await b.key('?');
await b.shot('keys-dark');
await b.key('Escape');
await b.media({ 'forced-colors': 'active' });
await b.view('now');
await b.shot('forced');
say([...new Set(b.log)].join('\n         '));
ok(!b.log.some(l => l.startsWith('exception')), 'no exception on the way');
await h.stop();
await done();
