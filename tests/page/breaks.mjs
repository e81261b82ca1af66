// What breaks: the hub restarts, sleeps, gets another file. The page says so and ends at
// the file's rows.

import { copyFileSync, rmSync } from 'node:fs';
import { browser, hub, sql, insert, transaction, ok, end, until, env, SOAK } from './support.mjs';

let h = await hub();
const b = await browser(),
    post = n =>
        sql(transaction(Array.from({ length: n }, (_, i) => insert('messages', { thread_id: 'build', from_id: 'planner', content: 'row ' + i }))));
await b.go(h.url);
ok(await b.live(), 'live');
await b.view('threads/build');
post(3);
const shown = async () =>
    (await b.ev(`[...document.querySelectorAll('.msg .gut')].at(-1)?.textContent`)) === sql(`SELECT last_seq FROM threads WHERE id = 'build'`);
ok(await until(shown), 'a row is shown');

await h.stop();
ok(await b.until(`/Reconnecting/.test(document.getElementById('pill').textContent)`), 'without a hub it says that it reconnects', await b.pill());
post(250);
h = await hub({ listen: h.listen });
ok(await b.live(30000), 'it is back by itself');
ok(await until(shown), 'with the rows written meanwhile');

h.signal('SIGSTOP');
ok(await b.until(`document.getElementById('pill').dataset.state === 'stale'`, 25000), 'a hub that sleeps is shown as such', await b.pill());
post(5);
// As long as a laptop's short sleep; the long form sleeps until the page gives the connection up.
const asleep = Date.now();
if (SOAK)
    ok(
        await b.until(`/Reconnecting|Connecting/.test(document.getElementById('pill').textContent)`, 90000),
        'a connection that is dead is given up',
        await b.pill()
    );
await until(() => Date.now() - asleep > 20000, 30000);
ok(
    await b.ev(`/No answer for|onnecting/.test(document.getElementById('pill').textContent)`),
    'twenty seconds later it still says so',
    await b.pill()
);
h.signal('SIGCONT');
ok(await b.live(60000), 'it wakes');
ok(await until(shown, 20000), 'with the rows written meanwhile');
const log = await b.state(`(l => [l.rows.length, l.rows.every((r, i) => r.e.message_seq === l.first + i)])(s.logs.get('threads/build'))`);
ok(log[1], 'none missing, none twice', log.join(' '));

// An older copy of the file comes back: another place in the same log.
await h.stop();
sql('PRAGMA wal_checkpoint(TRUNCATE);');
copyFileSync(env.AGENTHUB_DB, env.AGENTHUB_DB + '.old');
h = await hub({ listen: h.listen });
ok(await b.live(15000), 'live again');
post(4);
ok(await until(shown), 'four more rows are shown');
await h.stop();
for (const end of ['', '-wal', '-shm']) rmSync(env.AGENTHUB_DB + end, { force: true });
copyFileSync(env.AGENTHUB_DB + '.old', env.AGENTHUB_DB);
h = await hub({ listen: h.listen });
ok(
    await b.until(`/read anew/.test(document.getElementById('notice').textContent)`, 15000),
    'a file that was put back is said to be',
    await b.text('#notice p')
);
ok(await until(shown, 15000), 'and its rows are shown, not those that are gone');
await b.click(`document.querySelector('#notice button')`);

await h.stop();
for (const end of ['', '-wal', '-shm']) rmSync(env.AGENTHUB_DB + end, { force: true });
h = await hub({ listen: h.listen });
sql(insert('messages', { thread_id: 'new-world', from_id: 'somebody', content: 'a new file' }));
ok(
    await b.until(`/replaced/.test(document.getElementById('notice').textContent)`, 15000),
    'another file is said to be one',
    await b.text('#notice p')
);
ok(await until(async () => (await b.state(`[...s.threads.keys()].join()`)) === 'new-world'), 'only the new file’s rows are shown');
await end(h, b);
