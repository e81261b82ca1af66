// Moving through the page: pause, theme, Back and the focus, exported files, costs and budgets, and
// the commands of the Setup view.

import { startAgenthub, startBrowser, startHub, runShell, sql, insert, check, finish, eventually } from './support.mjs';
import { fixtureSql } from './fixtures.mjs';

const DAY_MS = 864e5;
const hub = await startHub();
const browser = await startBrowser();
const hash = () => browser.evaluate('location.hash');
const focused = () => browser.evaluate(`(e => e.tagName + '.' + e.className)(document.activeElement)`);
const button = (container, label) =>
    `[...document.querySelectorAll('${container} button')].find(e => e.offsetParent && e.textContent === '${label}')`;
sql(fixtureSql());
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');

// ---- pause ----

await browser.goTo('now');
await browser.press(' ');
sql(insert('messages', { thread_id: 'meanwhile', from_id: 'a', content: 'while paused' }));
check(
    await browser.eventually(`/Paused · [1-9]/.test(document.getElementById('pill').textContent)`),
    'while paused, new events are counted',
    await browser.connectionText()
);
const feedShowsMessage = `document.querySelector('.feed').innerText.includes('while paused')`;
check(!(await browser.evaluate(feedShowsMessage)), 'while paused, new events are not shown');
await browser.goTo('threads/meanwhile');
check(
    await browser.eventually(`document.querySelectorAll('.message').length === 1`),
    'while paused, a thread that is opened is shown',
    await browser.text('.threads .hint')
);
await browser.goTo('costs?range=7%20days');
check(
    await browser.eventually(`document.querySelectorAll('.costs .chart').length === 2`),
    'while paused, costs are shown'
);
await browser.goTo('inbox/planner');
check(
    await browser.eventually(`document.querySelectorAll('.inbox .row').length > 0`),
    'while paused, a mailbox is shown'
);
await browser.press(' ');
await browser.goTo('now');
check(await browser.eventually(feedShowsMessage), 'resuming shows the new events');

// ---- theme, titles, focus ----

const background = () => browser.evaluate(`getComputedStyle(document.body).backgroundColor`);
const lightBackground = await background();
const themes = [];
for (let i = 0; i < 3; i++) {
    await browser.click(`document.getElementById('theme')`);
    themes.push((await browser.text('#theme')) + ((await background()) === lightBackground ? '' : ' dark'));
}
check(themes.join() === 'Light,Dark dark,System', 'the theme button cycles through light, dark, system', themes.join());
await browser.goTo('tasks');
await browser.evaluate(
    `[...document.querySelectorAll('.row .task-row')].find(link => link.parentNode.ariaPosInSet === '3').focus()`
);
const focusedRow = await browser.evaluate(`document.activeElement.getAttribute('href')`);
await browser.press('Enter');
check(
    /^#\/tasks\/t-/.test(await hash()) && (await browser.eventually(`document.activeElement.matches('.detail h1')`)),
    'Enter opens a task and focuses its heading',
    await focused()
);
check(
    await browser.eventually(`/watcher|flaky|triggers|guide|notes/.test(document.title)`),
    'the title of the page names the task',
    await browser.evaluate('document.title')
);
await browser.evaluate('history.back()');
check(
    (await browser.eventually(`document.activeElement.matches('.task-row')`)) &&
        (await browser.evaluate(`document.activeElement.getAttribute('href')`)) === focusedRow,
    'Back focuses the row that was opened',
    await focused()
);
await browser.goTo('threads/build');
await browser.eventually(`document.querySelectorAll('.message').length > 20`);
await browser.goTo('threads');
check(
    await browser.eventually(`!document.querySelector('.list [aria-current]')`),
    'without an open thread no row is current'
);

// ---- dates and status of a thread ----

const oldTime = Date.now() - 9 * DAY_MS;
sql(
    insert('messages', { thread_id: 'old', from_id: 'a', content: 'long ago', created_at: oldTime }) +
        insert('messages', { thread_id: 'old', from_id: 'a', content: 'today' })
);
await browser.goTo('threads/old');
check(await browser.eventually(`document.querySelectorAll('.message').length === 2`), 'an old message is shown');
const shownDays = await browser.evaluate(
    `[...document.querySelectorAll('.message')].map(e => e.dataset.day || '-').join()`
);
const formatDay = ms => new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' }).format(ms);
check(shownDays === [oldTime, Date.now()].map(formatDay).join(), 'each day starts with its date', shownDays);
await browser.evaluate(
    `(select => { select.value = 'archived'; select.dispatchEvent(new Event('change')); })(document.querySelector('.threads .view-header select'))`
);
check(
    await eventually(() => sql(`SELECT status FROM threads WHERE id = 'old'`) === 'archived'),
    'a thread can be archived'
);

// ---- exported files ----

await browser.evaluate(
    `window.blobs = []; URL.createObjectURL = (create => blob => { blobs.push(blob); return create(blob); })(URL.createObjectURL.bind(URL))`
);
const exportedFile = async number =>
    (await browser.eventually(`blobs.length === ${number}`)) && browser.evaluate(`blobs[${number - 1}].text()`);
const toolEvent = { task_id: 'ex', agent_id: 'w', tool_name: 'Bash', call_id: '1' };
sql(
    insert('task_stream', { ...toolEvent, stream_type: 'tool_use', tool_input: '~~~~\n# fake heading' }) +
        insert('task_stream', { ...toolEvent, stream_type: 'tool_result', tool_output: 'out', error_msg: 'boom' })
);
await browser.goTo('tasks/ex');
await browser.eventually(`document.querySelectorAll('.step').length === 1`);
await browser.click(button('.tasks', 'JSONL'));
const exportedEvents = (await exportedFile(1))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
check(
    exportedEvents.map(event => event.stream_type).join() === 'tool_use,tool_result' &&
        exportedEvents[1].error_msg === 'boom',
    'the JSON Lines export of a task has its events',
    exportedEvents.length
);
await browser.click(button('.tasks', 'Markdown'));
const markdown = await exportedFile(2);
check(
    markdown.includes('\n~~~~~\n~~~~\n# fake heading\n~~~~~\n') && markdown.includes('boom'),
    'in the Markdown export no output ends its own fence',
    JSON.stringify(markdown)
);
const formulaAgent = '=HYPERLINK("http://evil","x")';
const usage = { model: 'm', tokens_in: 10, tokens_out: 5, cost: 1, cost_source: 'reported' };
sql(insert('telemetry', { instance_id: 'cs', agent_id: formulaAgent, ...usage }));
await browser.goTo('costs?range=7%20days');
await browser.eventually(`document.querySelector('.costs table')?.innerText.includes('HYPERLINK')`);
await browser.click(button('.costs', 'CSV'));
const csvLines = (await exportedFile(3)).split('\r\n');
check(
    csvLines[0] === 'Agent,Tokens in,Cached,Tokens out,Cost,Unpriced' &&
        csvLines.includes('"\'=HYPERLINK(""http://evil"",""x"")",10,0,5,1,0'),
    'an agent’s name is no formula in the CSV export',
    csvLines.find(line => line.includes('HYPER'))
);
check(
    await browser.evaluate(
        `[...document.querySelectorAll('.costs table')].every(table => table.querySelector('button')?.textContent === 'CSV')`
    ),
    'every table can be exported'
);

// ---- costs ----

await browser.evaluate(
    `(input => { input.value = '2'; input.dispatchEvent(new Event('change')); })(document.querySelector('.costs input'))`
);
check(
    await browser.eventually(
        `document.querySelector('path.budget').getAttribute('d') && document.querySelector('.costs .figures').dataset.tone === 'bad'`
    ),
    'the chart shows the budget, and costs above it are marked'
);
await browser.goTo('costs?range=30%20days');
const showsCharts = `document.querySelectorAll('.costs .chart').length === 2`;
check(
    (await browser.eventually(showsCharts)) &&
        (await browser.evaluate(`document.querySelector('.costs input').value === ''`)),
    'each range has its own budget'
);
check(
    /% of tokens have no known price/.test(await browser.text('.costs > .facts')),
    'the share of unpriced tokens is shown'
);
check(
    await browser.evaluate(
        `[...document.querySelectorAll('.costs figure')].every(f => /^\\d{4}-.*max .*\\d{4}-/s.test(f.querySelector('.axis').innerText))`
    ),
    'the charts have a scale'
);
check(
    await browser.eventually(`[...document.querySelectorAll('.costs details tbody tr')].length === 30`),
    'a table has the values of every day'
);
await browser.goTo('costs?range=Today');
check(
    (await browser.eventually(
        `/^\\d{4}-\\d\\d-\\d\\d 00:00/.test(document.querySelector('.costs .axis')?.innerText)`
    )) && (await browser.evaluate(showsCharts)),
    'today is shown by the hour'
);

// ---- setup ----

await startAgenthub('post', 'hello', 'hi', '--from', 'try-sqlite3').result;
await browser.open(hub.link());
await browser.isLive();
await browser.goTo('setup');
const CHECK_MARKS = `[...document.querySelectorAll('.setup .tag')].filter(e => e.offsetParent && e.textContent === 'arrived').length`;
await browser.eventually(`document.querySelector('.setup dd')`);
check((await browser.evaluate(CHECK_MARKS)) === 0, 'a row from before the page opened sets no check mark');
sql(`INSERT INTO messages(thread_id, from_id, content) VALUES('hello','try-sqlite3','hi')`);
check(await browser.eventually(CHECK_MARKS + ' === 1'), 'a row sets the check mark of its command');
const commands = await browser.evaluate(
    `[...document.querySelectorAll('.setup .command')].filter(e => e.querySelector('.tag')).map(e => e.querySelector('code').textContent)`
);
for (const command of commands) {
    const { status, stderr } = runShell(command);
    check(status === 0, command.split(' ')[0] + ': the command runs as shown', status ? String(stderr) : '');
}
check(
    commands.length === 5 && (await browser.eventually(CHECK_MARKS + ' === 5')),
    'each command gets its check mark',
    await browser.evaluate(CHECK_MARKS)
);
sql(Array.from({ length: 60 }, (_, i) => insert('agents', { id: 'agent-' + i })).join(''));
check(
    await browser.eventually(`document.querySelectorAll('.setup .compact-list li').length > 60`),
    'every agent is listed'
);
for (const width of [1280, 320]) {
    await browser.resize(width, 720);
    await browser.rendered();
    const [scrollWidth, clientWidth] = await browser.evaluate(
        `(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.setup'))`
    );
    check(scrollWidth <= clientWidth, `Setup fits into ${width} px`, `${scrollWidth} of ${clientWidth}`);
}
await finish(hub, browser);
