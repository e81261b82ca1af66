// What breaks: the hub restarts, sleeps, gets another file. The page says so and ends at
// the file's rows.

import { rmSync } from 'node:fs';
import { browser, hub, sql, insert, ok, done, until, env, SOAK } from './support.mjs';

let h = await hub();
const b = await browser(), post = n => sql(Array.from({ length: n }, (_, i) => insert('messages', { thread_id: 'build', from_id: 'planner', content: 'row ' + i })).join(''));
await b.go(h.url);
ok(await b.live(), 'live');
await b.view('threads/build');
post(3);
const shown = async () => await b.ev(`[...document.querySelectorAll('.msg .gut')].at(-1)?.textContent`) === sql(`SELECT last_seq FROM threads WHERE id = 'build'`);
ok(await until(shown), 'a row is shown');

await h.stop();
ok(await b.until(`/Reconnecting/.test(document.getElementById('pill').textContent)`), 'without a hub it says that it reconnects', await b.pill());
post(250);
h = await hub({ listen: h.listen });
ok(await b.live(15000), 'it is back by itself');
ok(await until(shown), 'with the rows written meanwhile');

h.signal('SIGSTOP');
ok(await b.until(`document.getElementById('pill').dataset.state === 'stale'`, 25000), 'a hub that sleeps is shown as such', await b.pill());
post(5);
await new Promise(r => setTimeout(r, SOAK ? 8000 : 100));
h.signal('SIGCONT');
ok(await b.live(60000), 'it wakes');
ok(await until(shown, 20000), 'with the rows written meanwhile');
const log = await b.state(`(l => [l.rows.length, l.rows.every((r, i) => r.e.message_seq === l.rows.base + i)])(s.logs.get('build'))`);
ok(log[1], 'none missing, none twice', log.join(' '));

await h.stop();
for (const end of ['', '-wal', '-shm']) rmSync(env.AGENTHUB_DB + end, { force: true });
h = await hub({ listen: h.listen });
sql(insert('messages', { thread_id: 'new-world', from_id: 'somebody', content: 'a new file' }));
ok(await b.until(`/replaced/.test(document.getElementById('notice').textContent)`, 15000), 'another file is said to be one', await b.text('#notice p'));
ok(await until(async () => (await b.state(`[...s.threads.keys()].join()`)) === 'new-world'), 'only the new file’s rows are shown');
ok(!b.log.some(l => l.startsWith('exception')), 'no exception', b.log.find(l => l.startsWith('exception')));
await h.stop();
await done();
