// What the page's tests stand on: a hub of their own, the browser, a writer.
//
// For:      one real hub on one throw-away file, one headless Chromium spoken to over its
//           debugging pipe (fd 3 and 4: no port, and it ends with this process), the
//           `sqlite3` shell as the foreign process that writes rows.
// Not for:  what is tested; each script does that and ends by `end()` or `done()`.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const BIN = process.env.AGENTHUB_BIN,
    CHROMIUM = process.env.AGENTHUB_TEST_CHROMIUM || 'chromium';
export const SOAK = process.env.AGENTHUB_SOAK === '1',
    OUT = process.env.AGENTHUB_OUT;
export const dir = mkdtempSync(join(tmpdir(), 'agenthub-page-'));
const children = new Set();
let failed = 0,
    passed = 0;

process.on('exit', () => {
    for (const c of children) {
        try {
            c.kill('SIGCONT');
            c.kill('SIGKILL');
        } catch {
            /* gone */
        }
    }
    try {
        rmSync(dir, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 });
    } catch {
        /* the browser is still going */
    }
});
for (const s of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(s, () => process.exit(1));

function child(...args) {
    const c = spawn(...args);
    children.add(c);
    c.gone = new Promise(r =>
        c.once('exit', () => {
            children.delete(c);
            r();
        })
    );
    return c;
}

export function ok(holds, what, ...more) {
    holds ? passed++ : failed++;
    console.log(holds ? '  ok   ' : '  FAIL ', what, ...more);
}
export const say = (...words) => console.log('       ', ...words);
export async function done() {
    // The browser last writes to its profile on the way out.
    await Promise.all(
        [...children].map(c => {
            c.kill('SIGCONT');
            c.kill('SIGKILL');
            return c.gone;
        })
    );
    console.log(`${passed} held, ${failed} failed`);
    process.exit(failed ? 1 : 0);
}

/** The end of a test in which nothing may have been thrown. */
export async function end(h, b) {
    const thrown = b.log.find(l => l.startsWith('exception'));
    ok(!thrown, 'no exception', thrown);
    await h.stop();
    await done();
}

/** Until f() is true, looked at often; false after the time is up. */
export async function until(f, ms = 20000) {
    for (const end = Date.now() + ms; ;) {
        try {
            const v = await f();
            if (v) return v;
        } catch {
            /* not yet */
        }
        if (Date.now() > end) return false;
        await new Promise(r => setTimeout(r, 25));
    }
}

// ---- the hub ----

export const env = { ...process.env, AGENTHUB_DB: join(dir, 'hub.db'), HOME: dir };

export async function hub({ db = env.AGENTHUB_DB, listen = '127.0.0.1:0' } = {}) {
    const args = [
        'serve',
        '--db',
        db,
        '--listen',
        listen,
        '--json',
        ...(process.env.AGENTHUB_ASSETS ? ['--assets', process.env.AGENTHUB_ASSETS] : [])
    ];
    const c = child(BIN, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '',
        err = '';
    c.stderr.on('data', d => {
        err += d;
    });
    c.stdout.on('data', d => {
        out += d;
    });
    if (!(await until(() => out.includes('\n'), 30000))) throw new Error('the hub did not start: ' + err);
    const url = new URL(JSON.parse(out.split('\n')[0]).url),
        token = url.hash.slice(7);
    return {
        url: url.href,
        base: url.origin,
        listen: url.host,
        token,
        signal: s => c.kill(s),
        gone: c.gone,
        async stop() {
            c.kill('SIGTERM');
            await c.gone;
        },
        async get(path) {
            return (await fetch(url.origin + '/api/' + path, { headers: { authorization: 'Bearer ' + token } })).json();
        }
    };
}

/** `agenthub demo`: agents that only pretend, on a hub and a file of its own. */
export async function demo(seconds) {
    const c = child(BIN, ['demo', '--listen', '127.0.0.1:0', '--no-open', '--for', String(seconds)], {
        env: { ...env, TMPDIR: dir },
        stdio: ['ignore', 'pipe', 'ignore']
    });
    let out = '';
    c.stdout.on('data', d => {
        out += d;
    });
    if (!(await until(() => /http:\S+/.test(out), 20000))) throw new Error('the demo did not start');
    return {
        url: /http:\S+/.exec(out)[0],
        async stop() {
            c.kill('SIGINT');
            await c.gone;
        }
    };
}

export function sql(text, db = env.AGENTHUB_DB) {
    const r = spawnSync('sqlite3', ['-cmd', '.timeout 10000', db], { input: text, encoding: 'utf8', maxBuffer: 1 << 28 });
    if (r.status !== 0 || r.stderr) throw new Error(r.stderr || 'sqlite3 failed');
    return r.stdout.trim();
}
export const quote = v => (v == null ? 'NULL' : typeof v === 'number' ? String(v) : "'" + String(v).replace(/'/g, "''") + "'");
export const insert = (table, row) => `INSERT INTO ${table}(${Object.keys(row)}) VALUES(${Object.values(row).map(quote)});\n`;
export const transaction = rows => 'BEGIN IMMEDIATE;\n' + rows.join('') + 'COMMIT;\n';

/** A `sqlite3` shell that stays: what is written to it becomes rows at a steady rate. */
export function writer() {
    const c = child('sqlite3', ['-cmd', '.timeout 10000', '-cmd', 'PRAGMA synchronous = NORMAL', env.AGENTHUB_DB], {
        stdio: ['pipe', 'pipe', 'inherit']
    });
    let told = () => {},
        serial = 0;
    c.stdout.on('data', () => told());
    return {
        /** make(from, to) → the SQL of these rows; the seconds until the file had them all. */
        async flood(rate, seconds, make) {
            const start = Date.now(),
                total = rate * seconds;
            for (let sent = 0; sent < total;) {
                const due = Math.min(total, Math.ceil(((Date.now() - start) / 1000) * rate));
                if (due > sent && !c.stdin.write(make(serial, (serial += due - sent)))) await new Promise(r => c.stdin.once('drain', r));
                sent = due;
                await new Promise(r => setTimeout(r, 50));
            }
            // What was written to the shell is not in the file before the shell says so.
            await new Promise(r => {
                told = r;
                c.stdin.write('.print all\n');
            });
            return (Date.now() - start) / 1000;
        },
        async end() {
            c.stdin.end();
            await c.gone;
        }
    };
}
export const agenthub = (...args) => {
    const c = child(BIN, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    c.stdout.on('data', d => {
        out += d;
    });
    return { out: () => out, ended: c.gone.then(() => out.trim()) };
};

/** Runs what somebody has copied from the page. */
export const shell = command =>
    spawnSync('sh', ['-euc', command], { env: { ...env, PATH: dirname(BIN) + ':' + env.PATH, no_proxy: '127.0.0.1' }, timeout: 20000 });

// ---- the browser ----

const CODES = { Tab: 9, Enter: 13, Escape: 27, ' ': 32, End: 35, Home: 36, ArrowUp: 38, ArrowDown: 40 };

export async function browser() {
    const c = child(
        CHROMIUM,
        [
            '--headless',
            '--no-sandbox',
            '--disable-gpu',
            '--disable-dev-shm-usage',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            '--hide-scrollbars=false',
            '--remote-debugging-pipe',
            ...(process.env.AGENTHUB_ASSETS ? ['--disable-features=LocalNetworkAccessChecks'] : []),
            '--user-data-dir=' + join(dir, 'profile'),
            'about:blank'
        ],
        { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] }
    );
    const waits = new Map(),
        log = [],
        asked = new Set();
    let id = 0,
        rest = Buffer.alloc(0),
        session;
    const on = {
        'Runtime.exceptionThrown': e => log.push('exception: ' + (e.exceptionDetails.exception?.description || e.exceptionDetails.text)),
        'Runtime.consoleAPICalled': e => log.push(e.type + ': ' + e.args.map(a => a.value ?? a.description).join(' ')),
        'Log.entryAdded': e => log.push('log: ' + e.entry.text + ' ' + (e.entry.url || '')),
        'Network.requestWillBeSent': e => asked.add(e.request.url),
        'Network.webSocketCreated': e => asked.add(e.url)
    };
    c.stdio[4].on('data', d => {
        rest = Buffer.concat([rest, d]);
        for (let at; (at = rest.indexOf(0)) >= 0; rest = rest.subarray(at + 1)) {
            const m = JSON.parse(rest.subarray(0, at).toString());
            if (!m.id) {
                on[m.method]?.(m.params);
                continue;
            }
            const [good, bad] = waits.get(m.id);
            waits.delete(m.id);
            m.error ? bad(new Error(m.error.message)) : good(m.result);
        }
    });
    const cmd = (method, params = {}) =>
        new Promise((good, bad) => {
            waits.set(++id, [good, bad]);
            c.stdio[3].write(JSON.stringify({ id, method, params, sessionId: session }) + '\0');
        });
    const { targetInfos } = await cmd('Target.getTargets'),
        page = targetInfos.find(t => t.type === 'page');
    session = (await cmd('Target.attachToTarget', { targetId: page.targetId, flatten: true })).sessionId;
    for (const d of ['Page', 'Runtime', 'Log', 'Network']) await cmd(d + '.enable');

    const b = {
        cmd,
        on,
        log,
        asked,
        async ev(expression) {
            const r = await cmd('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
            if (r.exceptionDetails)
                throw new Error(expression.slice(0, 200) + ': ' + (r.exceptionDetails.exception?.description || r.exceptionDetails.text));
            return r.result.value;
        },
        until: (expression, ms) => until(() => b.ev(expression), ms),
        /** Two frames: what was asked for has been drawn. */
        drawn: () => b.ev('new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => r(true)))))'),
        size: (width, height) => cmd('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 500 }),
        media: f => cmd('Emulation.setEmulatedMedia', { features: Object.entries(f).map(([name, value]) => ({ name, value })) }),
        async go(url) {
            await cmd('Page.navigate', { url: 'about:blank' });
            await cmd('Page.navigate', { url });
            await b.until(`document.readyState === 'complete'`);
        },
        /** While editing: the page's files come from the folder, whoever serves them. */
        async serveFrom(folder) {
            on['Fetch.requestPaused'] = async ({ requestId, request }) => {
                const path = new URL(request.url).pathname,
                    type = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }[path.split('.')[1]] || 'text/html';
                const ours = path === '/' || (/\.\w+$/.test(path) && !path.startsWith('/api/'));
                if (!ours) return cmd('Fetch.continueRequest', { requestId });
                const body = readFileSync(join(folder, path === '/' ? 'index.html' : path)).toString('base64');
                return cmd('Fetch.fulfillRequest', { requestId, responseCode: 200, responseHeaders: [{ name: 'content-type', value: type }], body });
            };
            await cmd('Fetch.enable', {});
        },
        live: ms => b.until(`document.getElementById('pill').dataset.state === 'live'`, ms),
        pill: () => b.ev(`document.getElementById('pill').textContent`),
        async view(route) {
            await b.ev(`location.hash = '#/${route}'`);
            await b.drawn();
            await b.drawn();
        },
        /** The page's own state, as its modules see it. */
        state: e => b.ev(`import('./store.js').then(S => { const s = S.state; return ${e}; })`),
        text: s => b.ev(`document.querySelector(${JSON.stringify(s)})?.innerText`),
        async key(key, modifiers = 0) {
            const text = key === 'Enter' ? '\r' : key.length === 1 && !modifiers ? key : undefined;
            const code = CODES[key] || key.toUpperCase().charCodeAt(0);
            await cmd('Input.dispatchKeyEvent', {
                type: text ? 'keyDown' : 'rawKeyDown',
                key,
                text,
                modifiers,
                windowsVirtualKeyCode: code,
                code: key
            });
            await cmd('Input.dispatchKeyEvent', { type: 'keyUp', key, modifiers, windowsVirtualKeyCode: code, code: key });
            await b.drawn();
        },
        type: text => cmd('Input.insertText', { text }),
        /** Where the middle of an element is. */
        middle: selector =>
            b.ev(
                `(e => { e.scrollIntoView({ block: 'nearest' }); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })(${selector})`
            ),
        async mouse(type, [x, y]) {
            const moves = type === 'mouseMoved';
            await cmd('Input.dispatchMouseEvent', { type, x, y, button: moves ? 'none' : 'left', clickCount: moves ? 0 : 1 });
        },
        /** A real click there, once the element takes clicks. */
        async click(selector) {
            const takes = `(e => { const r = e.getBoundingClientRect(); return e.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)); })(${selector})`;
            let at;
            if (
                !(await until(async () => {
                    at = await b.middle(selector);
                    return b.ev(takes);
                }, 15000))
            )
                throw new Error('nothing to click at: ' + selector);
            for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased']) await b.mouse(type, at);
            await b.drawn();
        },
        nodes: () =>
            b.ev(`(() => { let n = 0; for (const w = document.createTreeWalker(document, NodeFilter.SHOW_ALL); w.nextNode();) n++; return n; })()`),
        async heap() {
            await cmd('HeapProfiler.collectGarbage');
            return (await cmd('Runtime.getHeapUsage')).usedSize / 1e6;
        },
        async shot(name) {
            if (!OUT) return;
            mkdirSync(OUT, { recursive: true });
            writeFileSync(join(OUT, name + '.png'), Buffer.from((await cmd('Page.captureScreenshot', { format: 'png' })).data, 'base64'));
        }
    };
    await b.size(1280, 800);
    await b.media({ 'prefers-color-scheme': 'light' });
    return b;
}
export const file = path => readFileSync(path, 'utf8');
