// Faults: the hub restarts, hangs, or gets another database. The page shows the fault, and
// afterwards has the rows of the database.

import { copyFileSync, rmSync } from 'node:fs';
import { startBrowser, startHub, sql, insert, transaction, check, finish, eventually, env, SOAK } from './support.mjs';

let hub = await startHub();
const browser = await startBrowser();
const DATABASE = env.AGENTHUB_DB;
const COPY = DATABASE + '.copy';

const connectionMatches = (pattern, timeoutMs) =>
    browser.eventually(`${pattern}.test(document.getElementById('pill').textContent)`, timeoutMs);
const noticeMatches = pattern =>
    browser.eventually(`${pattern}.test(document.getElementById('notice').textContent)`, 15000);
function writeMessages(count) {
    const message = i => insert('messages', { thread_id: 'build', from_id: 'planner', content: 'row ' + i });
    sql(transaction(Array.from({ length: count }, (_, i) => message(i))));
}
function deleteDatabase() {
    for (const suffix of ['', '-wal', '-shm']) rmSync(DATABASE + suffix, { force: true });
}
const showsLastMessage = async () =>
    (await browser.evaluate(`[...document.querySelectorAll('.message .gutter')].at(-1)?.textContent`)) ===
    sql(`SELECT last_seq FROM threads WHERE id = 'build'`);

await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');
await browser.goTo('threads/build');
writeMessages(3);
check(await eventually(showsLastMessage), 'new rows are shown');

// ---- restart ----

await hub.stop();
check(await connectionMatches('/Reconnecting/'), 'without a hub the page reconnects', await browser.connectionText());
writeMessages(250);
hub = await startHub({ listen: hub.listen });
check(await browser.isLive(30000), 'the page reconnects to a restarted hub');
check(await eventually(showsLastMessage), 'the rows written meanwhile are shown');

// ---- a hub that does not respond ----

hub.signal('SIGSTOP');
check(
    await browser.eventually(`document.getElementById('pill').dataset.state === 'stale'`, 25000),
    'the page shows that the hub does not respond',
    await browser.connectionText()
);
writeMessages(5);
// Stops the hub for as long as a laptop may sleep. The long form waits until the page closes the connection.
const stoppedAt = Date.now();
if (SOAK) {
    check(
        await connectionMatches('/Reconnecting|Connecting/', 90000),
        'the page closes a connection that gets no response',
        await browser.connectionText()
    );
}
await eventually(() => Date.now() - stoppedAt > 20000, 30000);
check(
    await browser.evaluate(`/No response|onnecting/.test(document.getElementById('pill').textContent)`),
    'after twenty seconds the page still shows that the hub does not respond',
    await browser.connectionText()
);
hub.signal('SIGCONT');
check(await browser.isLive(60000), 'the page is live when the hub continues');
check(await eventually(showsLastMessage), 'the rows written meanwhile are shown');
const [rowCount, isContiguous] = await browser.state(
    `(t => [t.rows.length, t.rows.every((row, i) => row.event.message_seq === t.first + i)])(s.timelines.get('threads/build'))`
);
check(isContiguous, 'no row is missing and none is shown twice', rowCount);

// ---- an older copy of the database: another position in the same log ----

await hub.stop();
sql('PRAGMA wal_checkpoint(TRUNCATE);');
copyFileSync(DATABASE, COPY);
hub = await startHub({ listen: hub.listen });
check(await browser.isLive(15000), 'the page is live again');
writeMessages(4);
check(await eventually(showsLastMessage), 'four more rows are shown');
await hub.stop();
deleteDatabase();
copyFileSync(COPY, DATABASE);
hub = await startHub({ listen: hub.listen });
check(await noticeMatches('/Reloaded/'), 'a notice says that the page reloaded', await browser.text('#notice p'));
check(await eventually(showsLastMessage, 15000), 'the rows of the restored database are shown, not the lost ones');
await browser.click(`document.querySelector('#notice button')`);

// ---- a new database ----

await hub.stop();
deleteDatabase();
hub = await startHub({ listen: hub.listen });
sql(insert('messages', { thread_id: 'new-database', from_id: 'planner', content: 'a new database' }));
check(
    await noticeMatches('/replaced/'),
    'a notice says that the database was replaced',
    await browser.text('#notice p')
);
check(
    await eventually(async () => (await browser.state(`[...s.threads.keys()].join()`)) === 'new-database'),
    'only the rows of the new database are shown'
);
await finish(hub, browser);
