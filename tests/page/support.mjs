// Support for the tests of the page: a hub on a temporary database, a headless Chromium controlled
// over its debugging pipe (file descriptors 3 and 4: no port, and it exits with this process), and the
// `sqlite3` shell as another process that writes rows.
// A script counts its checks with `check()` and ends with `finish()` or `exitWithResult()`.

import { spawn, spawnSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const AGENTHUB = process.env.AGENTHUB_BIN;
const CHROMIUM = process.env.AGENTHUB_TEST_CHROMIUM || 'chromium';
/** The folder that the browser loads the page's files from, instead of from the hub. For work on the page. */
const ASSETS = process.env.AGENTHUB_ASSETS;
/** The folder for screenshots. If it is unset, none are taken. */
const SCREENSHOTS = process.env.AGENTHUB_OUT;
export const SOAK = process.env.AGENTHUB_SOAK === '1';
const folder = mkdtempSync(join(tmpdir(), 'agenthub-page-'));
const children = new Set();
let failed = 0;
let passed = 0;

function killChildren() {
    for (const child of children) {
        try {
            // A stopped process is continued, so that it can exit.
            child.kill('SIGCONT');
            child.kill('SIGKILL');
        } catch {
            // It has exited.
        }
    }
}
process.on('exit', () => {
    killChildren();
    try {
        rmSync(folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 });
    } catch {
        // The browser still writes to its profile.
    }
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));

function startChild(...args) {
    const child = spawn(...args);
    children.add(child);
    child.exited = new Promise(resolve =>
        child.once('exit', () => {
            children.delete(child);
            resolve();
        })
    );
    return child;
}

/** Collects what a stream writes; returns a function that returns the text so far. */
function collect(stream) {
    let text = '';
    stream.on('data', chunk => {
        text += chunk;
    });
    return () => text;
}

// ---- checks ----

export function check(condition, description, ...details) {
    if (condition) passed++;
    else failed++;
    console.log(condition ? '  ok   ' : '  FAIL ', description, ...details);
}

/** Prints a figure or a note that is not a check. */
export const report = (...words) => console.log('       ', ...words);

/** Ends the script: 0 if every check passed. */
export async function exitWithResult() {
    const exits = [...children].map(child => child.exited);
    killChildren();
    await Promise.all(exits);
    console.log(`checks passed: ${passed}, failed: ${failed}`);
    process.exit(failed ? 1 : 0);
}

/** Checks that the page threw no exception, stops the hub and ends the script. */
export async function finish(hub, browser) {
    const exception = browser.consoleLog.find(line => line.startsWith('exception'));
    check(!exception, 'the page throws no exception', exception);
    await hub.stop();
    await exitWithResult();
}

/** Calls `condition` every 25 ms until it returns a true value, which is returned; false on timeout. */
export async function eventually(condition, timeoutMs = 20000) {
    for (const deadline = Date.now() + timeoutMs; ;) {
        try {
            const value = await condition();
            if (value) return value;
        } catch {
            // Not true yet.
        }
        if (Date.now() > deadline) return false;
        await new Promise(resolve => setTimeout(resolve, 25));
    }
}

// ---- the hub and other processes ----

export const env = { ...process.env, AGENTHUB_DB: join(folder, 'hub.db'), HOME: folder };

/** Returns the HMAC of the fields, each after its length in 8 bytes. */
export function hmac(key, fields) {
    const mac = createHmac('sha256', key);
    for (const field of fields) {
        const length = Buffer.alloc(8);
        length.writeBigUInt64BE(BigInt(Buffer.byteLength(field)));
        mac.update(length).update(field);
    }
    return mac.digest('hex');
}

/** Makes a one-time code for the page of the hub that serves `db`, from the person's secret and the hub's run. */
export function makeCode(db = env.AGENTHUB_DB, lifetimeMs = 60000) {
    const person = readFileSync(db + '.person', 'utf8').trim();
    const { run } = JSON.parse(readFileSync(db + '.serve', 'utf8'));
    const expires = String(Date.now() + lifetimeMs);
    const nonce = randomBytes(16).toString('hex');
    return [expires, nonce, hmac(person, ['agenthub page code 1', run, expires, nonce])].join('.');
}

export async function startHub({ db = env.AGENTHUB_DB, listen = '127.0.0.1:0', args = [] } = {}) {
    const child = startChild(AGENTHUB, ['serve', '--db', db, '--listen', listen, '--json', ...args], {
        env,
        stdio: ['ignore', 'pipe', 'pipe']
    });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    if (!(await eventually(() => stdout().includes('\n'), 30000)))
        throw new Error('the hub did not start: ' + stderr());
    const url = new URL(JSON.parse(stdout().split('\n')[0]).url);
    return {
        url: url.href,
        origin: url.origin,
        listen: url.host,
        /** Returns the page's address with a new one-time code, as `agenthub open` makes it. */
        link: lifetimeMs => url.href + '#code=' + makeCode(db, lifetimeMs),
        signal: name => child.kill(name),
        /** Ends the hub as a crash does. */
        async kill() {
            child.kill('SIGKILL');
            await child.exited;
        },
        async stop() {
            child.kill('SIGTERM');
            await child.exited;
        }
    };
}

/** Starts `agenthub demo` with these further options: simulated agents, on a temporary hub and database. */
export async function startDemo(seconds, ...options) {
    const args = ['demo', '--listen', '127.0.0.1:0', '--no-open', '--for', String(seconds), ...options];
    const child = startChild(AGENTHUB, args, {
        env: { ...env, TMPDIR: folder },
        stdio: ['ignore', 'pipe', 'ignore']
    });
    const stdout = collect(child.stdout);
    if (!(await eventually(() => /http:\S+/.test(stdout())))) throw new Error('the demo did not start');
    const [workspace] = readdirSync(folder).filter(name => name.startsWith('agenthub-demo-'));
    const url = new URL(/http:\S+/.exec(stdout())[0]);
    return {
        link: () => url.origin + '/#code=' + makeCode(join(folder, workspace, 'hub.db')),
        async stop() {
            child.kill('SIGINT');
            await child.exited;
        }
    };
}

export function sql(statements, db = env.AGENTHUB_DB) {
    const result = spawnSync('sqlite3', ['-cmd', '.timeout 10000', db], {
        input: statements,
        encoding: 'utf8',
        maxBuffer: 1 << 28
    });
    if (result.status !== 0 || result.stderr) throw new Error(result.stderr || 'sqlite3 failed');
    return result.stdout.trim();
}
function quote(value) {
    if (value == null) return 'NULL';
    return typeof value === 'number' ? String(value) : "'" + String(value).replace(/'/g, "''") + "'";
}
export const insert = (table, row) =>
    `INSERT INTO ${table}(${Object.keys(row)}) VALUES(${Object.values(row).map(quote)});\n`;
export const transaction = statements => 'BEGIN IMMEDIATE;\n' + statements.join('') + 'COMMIT;\n';

/** Starts a `sqlite3` shell that writes rows at a constant rate. */
export function startWriter() {
    const child = startChild(
        'sqlite3',
        ['-cmd', '.timeout 10000', '-cmd', 'PRAGMA synchronous = NORMAL', env.AGENTHUB_DB],
        { stdio: ['pipe', 'pipe', 'inherit'] }
    );
    let onOutput = () => {};
    let nextRow = 0;
    child.stdout.on('data', () => onOutput());
    return {
        /** Writes `rate` rows a second; `rowsSql(from, to)` returns their SQL. Returns the seconds until all are committed. */
        async writeAtRate(rate, seconds, rowsSql) {
            const start = Date.now();
            const total = rate * seconds;
            for (let sent = 0; sent < total;) {
                const due = Math.min(total, Math.ceil(((Date.now() - start) / 1000) * rate));
                if (due > sent) {
                    const to = nextRow + due - sent;
                    const isAccepted = child.stdin.write(rowsSql(nextRow, to));
                    nextRow = to;
                    if (!isAccepted) await new Promise(resolve => child.stdin.once('drain', resolve));
                }
                sent = due;
                await new Promise(resolve => setTimeout(resolve, 50));
            }
            // The shell prints after it has run every statement before.
            await new Promise(resolve => {
                onOutput = resolve;
                child.stdin.write('.print all\n');
            });
            return (Date.now() - start) / 1000;
        },
        async end() {
            child.stdin.end();
            await child.exited;
        }
    };
}

/** Starts an agenthub command; `result` is its output when it has exited. */
export function startAgenthub(...args) {
    const child = startChild(AGENTHUB, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const output = collect(child.stdout);
    return { output, result: child.exited.then(() => output().trim()) };
}

/** Runs a hook of a session of Claude Code with this event. Returns its exit code and output. */
export function runHook(agent, event, fields = {}) {
    const input = { session_id: 's-' + agent, hook_event_name: event, cwd: '/home/ada/src/api', ...fields };
    const result = spawnSync(AGENTHUB, ['hook', 'claude-code'], {
        env: { ...env, AGENTHUB_AGENT: agent },
        input: JSON.stringify(input),
        encoding: 'utf8'
    });
    return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Runs an agenthub command as the person does: in a terminal, outside any agent's shell. */
export function runAsPerson(...args) {
    const python = process.env.AGENTHUB_TEST_PYTHON || 'python3';
    const script = join(import.meta.dirname, '../it/support/in_terminal.py');
    const { PATH, HOME, AGENTHUB_DB } = env;
    const result = spawnSync(python, [script, AGENTHUB, ...args], {
        env: { PATH, HOME, AGENTHUB_DB },
        encoding: 'utf8'
    });
    if (result.status !== 0) throw new Error(`agenthub ${args.join(' ')}: ${result.stdout}${result.stderr}`);
}

/** Runs a command that was copied from the page. */
export const runShell = command =>
    spawnSync('sh', ['-euc', command], {
        env: { ...env, PATH: dirname(AGENTHUB) + ':' + env.PATH, no_proxy: '127.0.0.1' },
        timeout: 20000
    });

// ---- the browser ----

const KEY_CODES = { Tab: 9, Enter: 13, Escape: 27, ' ': 32, End: 35, Home: 36, ArrowUp: 38, ArrowDown: 40 };
export const CTRL = 2;
const CONTENT_TYPES = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

export async function startBrowser() {
    const child = startChild(
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
            ...(ASSETS ? ['--disable-features=LocalNetworkAccessChecks'] : []),
            '--user-data-dir=' + join(folder, 'profile'),
            'about:blank'
        ],
        { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] }
    );

    // The debugging protocol: JSON messages that end with a zero byte.
    const consoleLog = [];
    const requestedUrls = new Set();
    const eventHandlers = {
        'Runtime.exceptionThrown': e =>
            consoleLog.push('exception: ' + (e.exceptionDetails.exception?.description || e.exceptionDetails.text)),
        'Runtime.consoleAPICalled': e =>
            consoleLog.push(e.type + ': ' + e.args.map(arg => arg.value ?? arg.description).join(' ')),
        'Log.entryAdded': e => consoleLog.push('log: ' + e.entry.text + ' ' + (e.entry.url || '')),
        'Network.requestWillBeSent': e => requestedUrls.add(e.request.url),
        'Network.webSocketCreated': e => requestedUrls.add(e.url)
    };
    const pendingCommands = new Map();
    let lastCommandId = 0;
    let received = Buffer.alloc(0);
    let sessionId;
    child.stdio[4].on('data', chunk => {
        received = Buffer.concat([received, chunk]);
        for (let end; (end = received.indexOf(0)) >= 0; received = received.subarray(end + 1)) {
            const message = JSON.parse(received.subarray(0, end).toString());
            if (!message.id) {
                eventHandlers[message.method]?.(message.params);
                continue;
            }
            const { resolve, reject } = pendingCommands.get(message.id);
            pendingCommands.delete(message.id);
            if (message.error) reject(new Error(message.error.message));
            else resolve(message.result);
        }
    });
    const send = (method, params = {}) =>
        new Promise((resolve, reject) => {
            const id = ++lastCommandId;
            pendingCommands.set(id, { resolve, reject });
            child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
        });
    const { targetInfos } = await send('Target.getTargets');
    const page = targetInfos.find(target => target.type === 'page');
    ({ sessionId } = await send('Target.attachToTarget', { targetId: page.targetId, flatten: true }));
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(domain + '.enable');

    if (ASSETS) {
        eventHandlers['Fetch.requestPaused'] = async ({ requestId, request }) => {
            const path = new URL(request.url).pathname;
            const isAsset = path === '/' || (/\.\w+$/.test(path) && !path.startsWith('/api/'));
            if (!isAsset) return send('Fetch.continueRequest', { requestId });
            const contentType = CONTENT_TYPES[path.split('.')[1]] || 'text/html';
            const content = readFileSync(join(ASSETS, path === '/' ? 'index.html' : path));
            return send('Fetch.fulfillRequest', {
                requestId,
                responseCode: 200,
                responseHeaders: [{ name: 'content-type', value: contentType }],
                body: content.toString('base64')
            });
        };
        await send('Fetch.enable', {});
    }

    const browser = {
        consoleLog,
        requestedUrls,
        async evaluate(expression) {
            const { result, exceptionDetails } = await send('Runtime.evaluate', {
                expression,
                awaitPromise: true,
                returnByValue: true
            });
            if (exceptionDetails) {
                const reason = exceptionDetails.exception?.description || exceptionDetails.text;
                throw new Error(expression.slice(0, 200) + ': ' + reason);
            }
            return result.value;
        },
        eventually: (expression, timeoutMs) => eventually(() => browser.evaluate(expression), timeoutMs),
        /** Waits two frames: changes made before are on the screen. */
        rendered: () =>
            browser.evaluate(
                'new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => r(true)))))'
            ),
        resize: (width, height) =>
            send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 500 }),
        /** Emulates media features, and a medium: 'print' or, if it is empty, the screen. */
        emulateMedia: (features, media = '') =>
            send('Emulation.setEmulatedMedia', {
                media,
                features: Object.entries(features).map(([name, value]) => ({ name, value }))
            }),
        async open(url) {
            await send('Page.navigate', { url: 'about:blank' });
            await send('Page.navigate', { url });
            await browser.eventually(`document.readyState === 'complete'`);
        },
        /** Returns the URLs in the tab's history. */
        async history() {
            const { entries } = await send('Page.getNavigationHistory');
            return entries.map(entry => entry.url);
        },
        isLive: timeoutMs => browser.eventually(`document.getElementById('pill').dataset.state === 'live'`, timeoutMs),
        connectionText: () => browser.evaluate(`document.getElementById('pill').textContent`),
        async goTo(route) {
            await browser.evaluate(`location.hash = '#/${route}'`);
            await browser.rendered();
            await browser.rendered();
        },
        /** Evaluates an expression on the page's state, `s`. */
        state: expression =>
            browser.evaluate(`import('./store.js').then(store => { const s = store.state; return ${expression}; })`),
        text: selector => browser.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText`),
        async press(key, modifiers = 0) {
            const printable = key.length === 1 && !modifiers ? key : undefined;
            const text = key === 'Enter' ? '\r' : printable;
            const windowsVirtualKeyCode = KEY_CODES[key] || key.toUpperCase().charCodeAt(0);
            const event = { key, modifiers, windowsVirtualKeyCode, code: key };
            await send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', text, ...event });
            await send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
            await browser.rendered();
        },
        type: text => send('Input.insertText', { text }),
        /** Returns the centre of the element that a JavaScript expression returns. */
        centerOf: node =>
            browser.evaluate(
                `(e => { e.scrollIntoView({ block: 'nearest' }); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })(${node})`
            ),
        async mouse(type, [x, y]) {
            const isMove = type === 'mouseMoved';
            const button = isMove ? 'none' : 'left';
            await send('Input.dispatchMouseEvent', { type, x, y, button, clickCount: isMove ? 0 : 1 });
        },
        /** Clicks an element, given as a JavaScript expression, once nothing covers it. */
        async click(node) {
            const isOnTop = `(e => { const r = e.getBoundingClientRect(); return e.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)); })(${node})`;
            let center;
            const isClickable = await eventually(async () => {
                center = await browser.centerOf(node);
                return browser.evaluate(isOnTop);
            }, 15000);
            if (!isClickable) throw new Error('cannot be clicked: ' + node);
            for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased']) await browser.mouse(type, center);
            await browser.rendered();
        },
        countNodes: () =>
            browser.evaluate(
                `(() => { let n = 0; for (const w = document.createTreeWalker(document, NodeFilter.SHOW_ALL); w.nextNode();) n++; return n; })()`
            ),
        async heapMegabytes() {
            await send('HeapProfiler.collectGarbage');
            return (await send('Runtime.getHeapUsage')).usedSize / 1e6;
        },
        async screenshot(name) {
            if (!SCREENSHOTS) return;
            mkdirSync(SCREENSHOTS, { recursive: true });
            const { data } = await send('Page.captureScreenshot', { format: 'png' });
            writeFileSync(join(SCREENSHOTS, name + '.png'), Buffer.from(data, 'base64'));
        }
    };
    await browser.resize(1280, 800);
    await browser.emulateMedia({ 'prefers-color-scheme': 'light' });
    return browser;
}
export const readText = path => readFileSync(path, 'utf8');
