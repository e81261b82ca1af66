// Ways through the page: pause, theme, Back and the focus, what can be taken along as a
// file, costs and their budget, the set-up view's ticks.

import { agenthub, browser, hub, shell, sql, insert, ok, end, until } from './support.mjs';
import { scene } from './scene.mjs';

const h = await hub(),
    b = await browser(),
    hash = () => b.ev('location.hash'),
    focus = () => b.ev(`(e => e.tagName + '.' + e.className)(document.activeElement)`);
const button = (where, words) => `[...document.querySelectorAll('${where} button')].find(e => e.offsetParent && e.textContent === '${words}')`;
sql(scene());
await b.go(h.url);
ok(await b.live(), 'live');

// ---- paused ----

await b.view('now');
await b.key(' ');
sql(insert('messages', { thread_id: 'meanwhile', from_id: 'a', content: 'while paused' }));
ok(await b.until(`/Paused · [1-9]/.test(document.getElementById('pill').textContent)`), 'paused, it counts what comes in', await b.pill());
ok(!(await b.ev(`document.querySelector('.feed').innerText.includes('while paused')`)), 'and shows nothing of it');
await b.view('threads/meanwhile');
ok(await b.until(`document.querySelectorAll('.msg').length === 1`), 'a thread opened by hand is shown all the same', await b.text('.threads .hint'));
await b.view('costs?range=7%20days');
ok(await b.until(`document.querySelectorAll('.costs .chart').length === 2`), 'and so are the costs');
await b.view('inbox/planner');
ok(await b.until(`document.querySelectorAll('.inbox .row').length > 0`), 'and a mailbox');
await b.key(' ');
await b.view('now');
ok(await b.until(`document.querySelector('.feed').innerText.includes('while paused')`), 'going on shows it');

// ---- theme, titles, focus ----

const ground = () => b.ev(`getComputedStyle(document.body).backgroundColor`),
    light = await ground();
const themes = [];
for (let i = 0; i < 3; i++) {
    await b.click(`document.getElementById('theme')`);
    themes.push((await b.text('#theme')) + ((await ground()) === light ? '' : ' dark'));
}
ok(themes.join() === 'Light,Dark dark,System', 'the theme goes from the system’s to light to dark', themes.join());
await b.view('tasks');
await b.ev(`[...document.querySelectorAll('.trow')].find(a => a.parentNode.at === 2).focus()`);
const row = await b.ev(`document.activeElement.getAttribute('href')`);
await b.key('Enter');
ok(
    /^#\/tasks\/t-/.test(await hash()) && (await b.until(`document.activeElement.matches('.detail h1')`)),
    'Enter opens a task, and the focus is on its heading',
    await focus()
);
ok(await b.until(`/watcher|flaky|triggers|guide|notes/.test(document.title)`), 'which is in the title', await b.ev('document.title'));
await b.ev('history.back()');
ok(
    (await b.until(`document.activeElement.matches('.trow')`)) && (await b.ev(`document.activeElement.getAttribute('href')`)) === row,
    'Back puts it on the row one came from',
    await focus()
);
await b.view('threads/build');
await b.until(`document.querySelectorAll('.msg').length > 20`);
await b.view('threads');
ok(await b.until(`!document.querySelector('.list [aria-current]')`), 'with no thread open no row is the current one');
sql(
    insert('messages', { thread_id: 'old', from_id: 'a', content: 'long ago', created_at: Date.now() - 9 * 864e5 }) +
        insert('messages', { thread_id: 'old', from_id: 'a', content: 'today' })
);
await b.view('threads/old');
ok(await b.until(`document.querySelectorAll('.msg').length === 2`), 'an old message is shown');
const days = await b.ev(`[...document.querySelectorAll('.msg')].map(e => e.dataset.day || '-')`),
    day = ms => new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' }).format(ms);
ok(days.join() === [day(Date.now() - 9 * 864e5), day(Date.now())].join(), 'each day has its date', days.join());
await b.ev(`(s => { s.value = 'archived'; s.dispatchEvent(new Event('change')); })(document.querySelector('.threads .head select'))`);
ok(await until(() => sql(`SELECT status FROM threads WHERE id = 'old'`) === 'archived'), 'a thread is archived in the file');

// ---- to take along ----

await b.ev(`window.B = []; URL.createObjectURL = (o => x => { B.push(x); return o(x); })(URL.createObjectURL.bind(URL))`);
const saved = async n => (await b.until(`B.length === ${n}`)) && b.ev(`B[${n - 1}].text()`);
const TOOL = { task_id: 'ex', agent_id: 'w', tool_name: 'Bash', call_id: '1' };
sql(
    insert('task_stream', { ...TOOL, stream_type: 'tool_use', tool_input: '~~~~\n# fake heading' }) +
        insert('task_stream', { ...TOOL, stream_type: 'tool_result', tool_output: 'out', error_msg: 'boom' })
);
await b.view('tasks/ex');
await b.until(`document.querySelectorAll('.step').length === 1`);
await b.click(button('.tasks', 'JSONL'));
const lines = (await saved(1))
    .trim()
    .split('\n')
    .map(l => JSON.parse(l));
ok(
    lines.map(l => l.stream_type).join() === 'tool_use,tool_result' && lines[1].error_msg === 'boom',
    'a task as JSON Lines has its rows',
    lines.length
);
await b.click(button('.tasks', 'Markdown'));
const md = await saved(2);
ok(md.includes('\n~~~~~\n~~~~\n# fake heading\n~~~~~\n') && md.includes('boom'), 'as Markdown no output leaves its fence', JSON.stringify(md));
sql(
    insert('telemetry', {
        instance_id: 'cs',
        agent_id: '=HYPERLINK("http://evil","x")',
        model: 'm',
        tokens_in: 10,
        tokens_out: 5,
        cost: 1,
        cost_source: 'reported'
    })
);
await b.view('costs?range=7%20days');
await b.until(`document.querySelector('.costs table')?.innerText.includes('HYPERLINK')`);
await b.click(button('.costs', 'CSV'));
const csv = await saved(3);
ok(
    csv.split('\r\n')[0] === 'Agent,Tokens in,of it cached,Tokens out,Cost,Without price' &&
        csv.includes('"\'=HYPERLINK(""http://evil"",""x"")",10,0,5,1,0'),
    'a CSV has no formula of an agent’s',
    csv.split('\r\n').find(l => l.includes('HYPER'))
);
ok(
    await b.ev(`[...document.querySelectorAll('.costs table')].every(t => t.querySelector('button')?.textContent === 'CSV')`),
    'every table can be taken along'
);

// ---- costs ----

const budget = v => b.ev(`(i => { i.value = '${v}'; i.dispatchEvent(new Event('change')); })(document.querySelector('.costs input'))`);
await budget(2);
ok(
    await b.until(`document.querySelector('path.budget').getAttribute('d') && document.querySelector('.costs .big').dataset.tone === 'bad'`),
    'a budget is a line, and too much is marked'
);
await b.view('costs?range=30%20days');
ok(
    (await b.until(`document.querySelectorAll('.costs .chart').length === 2`)) && (await b.ev(`document.querySelector('.costs input').value === ''`)),
    'each range has its own budget'
);
ok(/% of the tokens have no price/.test(await b.text('.costs > .facts')), 'the share without a price is said');
ok(
    await b.ev(`[...document.querySelectorAll('.costs figure')].every(f => /^\\d{4}-.*up to .*\\d{4}-/s.test(f.querySelector('.axis').innerText))`),
    'the charts have a scale'
);
ok(await b.until(`[...document.querySelectorAll('.costs details tbody tr')].length === 30`), 'and a table of every day');
await b.view('costs?range=Today');
ok(
    (await b.until(`/^\\d{4}-\\d\\d-\\d\\d 00:00/.test(document.querySelector('.costs .axis')?.innerText)`)) &&
        (await b.ev(`document.querySelectorAll('.costs .chart').length === 2`)),
    'today is shown hour by hour'
);

// ---- set-up ----

await agenthub('post', 'hello', 'hi', '--from', 'try-sqlite3').ended;
await b.go(h.url);
await b.live();
await b.view('setup');
const ticks = `[...document.querySelectorAll('.setup .tag')].filter(e => e.offsetParent && e.textContent === 'arrived').length`;
await b.until(`document.querySelector('.setup dd')`);
ok((await b.ev(ticks)) === 0, 'what was tried before the page opened has no tick');
sql(`INSERT INTO messages(thread_id, from_id, content) VALUES('hello','try-sqlite3','hi')`);
ok(await b.until(ticks + ' === 1'), 'the tick comes with its row');
const commands = JSON.parse(
    await b.ev(`JSON.stringify([...document.querySelectorAll('.setup .cmd')].filter(e => e.querySelector('.tag')).map(e => e.querySelector('code').textContent))`)
);
for (const command of commands) {
    const ran = shell(command);
    ok(ran.status === 0, command.split(' ')[0] + ': what is shown runs as it stands', ran.status ? String(ran.stderr) : '');
}
ok(commands.length === 5 && (await b.until(ticks + ' === 5')), 'and the tick of each comes', await b.ev(ticks));
sql(Array.from({ length: 60 }, (_, i) => insert('agents', { id: 'agent-' + i })).join(''));
ok(await b.until(`document.querySelectorAll('.setup .lines li').length > 60`), 'every agent is listed');
for (const width of [1280, 320]) {
    await b.size(width, 720);
    await b.drawn();
    const e = await b.ev(`(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.setup'))`);
    ok(e[0] <= e[1], `all of it within ${width} px`, e.join(' of '));
}
await end(h, b);
