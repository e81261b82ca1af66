// The page's key: a link gives it once, it can be revoked, and no other program receives it. Without a
// key the page shows no data, and how to get one.

import { createServer } from 'node:http';
import { startBrowser, startHub, sql, insert, check, finish, eventually, readText, env } from './support.mjs';

let hub = await startHub();
const browser = await startBrowser();
const secret = name => readText(`${env.AGENTHUB_DB}.${name}`).trim();
const session = () => browser.evaluate(`JSON.parse(localStorage.getItem('agenthub.session'))`);
const isLocked = () => browser.eventually(`document.querySelector('.lock')`);
const lockText = () => browser.text('.lock');
const forget = () => browser.evaluate('localStorage.clear()');

/** Sends a request to the hub with a secret. Returns { status, body }. */
async function api(method, path, bearer) {
    const headers = { authorization: 'Bearer ' + bearer, 'content-type': 'application/json' };
    const response = await fetch(hub.origin + path, { method, headers });
    return { status: response.status, body: await response.json() };
}
async function paste(text) {
    await browser.evaluate(`(input => { input.value = ''; input.focus(); })(document.querySelector('.lock input'))`);
    await browser.type(text);
    await browser.press('Enter');
}
const showsAlert = pattern =>
    browser.eventually(
        `[...document.querySelectorAll('.lock [role=alert]')].some(e => ${pattern}.test(e.textContent))`
    );

sql(insert('messages', { thread_id: 'build', from_id: 'planner', content: 'private text' }));

// ---- a link gives a key, once ----

await browser.open(hub.origin);
check(await isLocked(), 'without a key the page is locked');
check(/agenthub open/.test(await lockText()), 'the lock screen says how to open the page', await lockText());
check(!/agenthub token/.test(await lockText()), 'the lock screen does not offer the token of programs');
await browser.evaluate(`localStorage.setItem('agenthub.token', ${JSON.stringify(JSON.stringify(secret('token')))})`);
const link = hub.link();
const [, code] = link.split('#code=');
await browser.open(link);
check(await browser.isLive(), 'a link opens the page', await browser.connectionText());
const urls = [await browser.evaluate('location.href'), ...(await browser.history()), ...browser.requestedUrls];
check(
    !urls.some(url => url.includes('code=') || url.includes(code)),
    'the code is in no address and in no request’s URL'
);
check(
    (await browser.evaluate(`localStorage.getItem('agenthub.token')`)) === null,
    'the saved token of earlier versions is deleted'
);
const stored = await browser.evaluate(`JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie`);
check(
    ['token', 'person'].every(name => secret(name).length === 64 && !stored.includes(secret(name))),
    'the browser keeps neither secret of the database'
);
const first = await session();
check(/^[0-9a-f]{64}$/.test(first.key) && first.id.length > 0, 'the browser keeps a key of its own');
check(![...browser.requestedUrls].some(url => url.includes(first.key)), 'the key is in no URL');
await browser.goTo('threads/build');
await browser.open(hub.origin + '/#/threads/build');
check(
    await browser.eventually(`document.querySelector('.message')?.textContent.includes('private text')`),
    'afterwards the address alone opens the page'
);
await browser.evaluate(`location.hash = '#code=${code}'`);
check(
    (await browser.eventually(`location.hash === '#/now'`)) &&
        (await browser.isLive()) &&
        (await session()).id === first.id,
    'a used link changes nothing in a browser that has a key'
);
await browser.open(hub.link());
check(await browser.isLive(), 'a new link opens the page');
const current = await session();
const listedIds = async () =>
    (await api('GET', '/api/sessions', secret('person'))).body.items.map(item => item.id).join();
check(
    current.id !== first.id && (await eventually(async () => (await listedIds()) === current.id)),
    'a new link replaces the key of this browser',
    await listedIds()
);

await forget();
await browser.open(link);
check(await isLocked(), 'a link that was used leaves the page locked');
check(await showsAlert('/used before or has expired. Run agenthub open/'), 'and the page says so', await lockText());
await paste(link);
check(
    await showsAlert('/Couldn’t unlock: this link was used before/'),
    'so it does when the link is pasted',
    await lockText()
);
await paste(hub.link(-1));
check(
    await showsAlert('/Couldn’t unlock: this link was used before or has expired/'),
    'a link that has expired opens nothing'
);
await paste(secret('token'));
check(await showsAlert('/not a link from agenthub open/'), 'the token of programs opens nothing', await lockText());
check(
    !/private text/.test(await browser.evaluate('document.documentElement.outerHTML')),
    'a locked page shows no data'
);
await paste(hub.link());
check(await browser.isLive(), 'a pasted link unlocks the page', await browser.connectionText());
await forget();
await browser.open(hub.origin);
await isLocked();
await paste(hub.link().split('#code=')[1]);
check(await browser.isLive(), 'a pasted code unlocks the page', await browser.connectionText());

// ---- the list of browsers; revoking ----

const other = (await api('POST', '/api/sessions', hub.link().split('#code=')[1])).body;
await browser.goTo('setup');
const sessionRows = `[...document.querySelectorAll('.sessions li:not([hidden])')]`;
check(await browser.eventually(`${sessionRows}.length >= 2`), 'Setup lists the browsers that have a key');
const rowOf = id => `${sessionRows}.find(e => e.innerText.includes('${id}'))`;
const { id } = await session();
check(
    await browser.evaluate(
        `/Chrome on .*this browser/s.test(${rowOf(id)}.innerText) && !/this browser/.test(${rowOf(other.id)}.innerText)`
    ),
    'it marks this browser',
    await browser.text('.sessions')
);
await browser.click(`${rowOf(other.id)}.querySelector('button')`);
check(await browser.eventually(`!${rowOf(other.id)}`), 'a revoked key is no longer listed');
check((await api('GET', '/api/status', other.key)).status === 401, 'and no longer accepted');
check(await browser.isLive(), 'the page itself stays open');

await browser.goTo('threads/build');
await browser.eventually(`document.querySelector('.message')`);
await api('DELETE', '/api/sessions/' + id, secret('person'));
check(await isLocked(), 'the page locks when its key is revoked');
check(
    await browser.eventually(`/key was revoked/.test(document.querySelector('.lock').innerText)`),
    'it says why',
    await lockText()
);
check(!/private text/.test(await browser.evaluate('document.documentElement.outerHTML')), 'and shows no data any more');
await browser.open(hub.origin);
check(await isLocked(), 'it stays locked after a reload');
await paste(hub.link());
check(await browser.isLive(), 'a link unlocks it again');
await browser.goTo('setup');
await browser.click(`${rowOf((await session()).id)}.querySelector('button')`);
check((await isLocked()) && (await session()) === null, 'signing out locks the page and deletes the key');
await paste(hub.link());
check(await browser.isLive(), 'a link unlocks it again');

// ---- another program at the hub's address ----

const { key } = await session();
/** Starts a program at the hub's address that records what it is sent; `answer(request)` returns [status, body]. */
async function startImpostor(answer) {
    const received = [];
    const record = request => received.push([request.method, request.url, ...request.rawHeaders].join(' '));
    const server = createServer(async (request, response) => {
        record(request);
        let body = '';
        for await (const chunk of request) body += chunk;
        received.push(body);
        const [status, text] = await answer(request);
        response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    });
    server.on('upgrade', (request, socket) => {
        record(request);
        socket.destroy();
    });
    const listening = () =>
        new Promise((resolve, reject) => {
            server.once('error', reject);
            server.listen({ host: '127.0.0.1', port: Number(hub.listen.split(':')[1]) }, () => resolve(true));
        });
    check(await eventually(listening), 'another program takes the port');
    return {
        received,
        stop() {
            server.closeAllConnections();
            return new Promise(resolve => server.close(resolve));
        }
    };
}
async function checkImpostor(description, answer) {
    const impostor = await startImpostor(answer);
    const proofRequests = () => impostor.received.filter(line => line.includes('/api/proof')).length;
    check(await eventually(() => proofRequests() >= 2), `${description}: the page asks for a proof again and again`);
    check(
        await browser.eventually(`document.getElementById('pill').textContent === 'Not your hub'`),
        `${description}: the page says that this is not the hub`,
        await browser.connectionText()
    );
    check(
        await browser.eventually(
            `/Another program answers at 127.0.0.1/.test(document.getElementById('notice').innerText)`
        ),
        `${description}: a notice explains it`
    );
    // What the person does meanwhile.
    const failure = await browser.evaluate(
        `import('./sync/mail.js').then(sync => sync.sendMail({ to_inbox: 'planner', payload: 'secret plan' })).then(() => 'sent', e => e.message)`
    );
    check(/another program answers/.test(failure), `${description}: nothing can be sent`, failure);
    check(
        impostor.received.length > 2 && !impostor.received.some(text => /secret plan/.test(text) || text.includes(key)),
        `${description}: it receives neither the key nor what the person writes`,
        impostor.received.length
    );
    check(!(await browser.evaluate(`document.querySelector('.lock')`)), `${description}: the page does not lock`);
    await impostor.stop();
}
await browser.goTo('now');
await hub.kill();
const proof = JSON.stringify({ run: '0123456789abcdef', proof: '5'.repeat(64), items: [] });
await checkImpostor('a made-up proof', () => [200, proof]);
await checkImpostor('a web server', () => [404, '<h1>Not found</h1>']);
// The hub at another port: its proof is for its own address.
const address = hub.listen;
hub = await startHub();
const elsewhere = hub.origin;
hub.listen = address;
await checkImpostor('a proof passed on', async request => {
    const response = await fetch(elsewhere + request.url);
    return [response.status, await response.text()];
});
await hub.stop();
hub = await startHub({ listen: address });
check(await browser.isLive(30000), 'the page reconnects when the hub is back', await browser.connectionText());
check(
    await browser.eventually(`document.getElementById('notice').hidden`),
    'the notice disappears',
    await browser.text('#notice')
);
check((await session()).key === key, 'with the same key');

// ---- a hub that requires no token ----

const open = await startHub({ db: env.AGENTHUB_DB.replace('hub.db', 'open.db'), args: ['--no-auth'] });
await browser.open(open.origin + '/#/inbox/human/new?to=planner');
check(await browser.isLive(), 'with --no-auth the page opens without a key', await browser.connectionText());
const send = async () => {
    await browser.goTo('inbox/human/new?to=planner');
    await browser.evaluate(`(e => { e.value = ''; e.focus(); })(document.querySelector('.new-mail textarea'))`);
    await browser.type('hello');
    await browser.click(`document.querySelector('.new-mail .primary')`);
};
await send();
await browser.eventually(`/no agent named/.test(document.querySelector('.new-mail .form-error').textContent)`);
await browser.click(`document.querySelector('.new-mail .primary')`);
check(
    await browser.eventually(
        `/from_agent is missing.*agenthub open/.test(document.querySelector('.new-mail .form-error').textContent)`
    ),
    'but writes nothing as the person, and says how to get a key',
    await browser.text('.new-mail .form-error')
);
await browser.goTo('setup');
check(
    await browser.eventually(`/agenthub open/.test(document.querySelector('.sessions + .form-error').textContent)`),
    'nor lists the browsers',
    await browser.text('.sessions + .form-error')
);
await browser.open(open.link());
check(await browser.isLive(), 'a link gives it a key');
await send();
await browser.eventually(`/no agent named/.test(document.querySelector('.new-mail .form-error').textContent)`);
await browser.click(`document.querySelector('.new-mail .primary')`);
check(
    await eventually(
        () =>
            sql(
                `SELECT from_agent || (proof IS NOT NULL) FROM inbox_messages`,
                env.AGENTHUB_DB.replace('hub.db', 'open.db')
            ) === 'human1'
    ),
    'with which the person writes',
    await browser.text('.new-mail .form-error')
);
await open.stop();
await finish(hub, browser);
