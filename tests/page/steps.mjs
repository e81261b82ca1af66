// The steps of a task: what a closed call says, what an open one shows, subagents, turns, search and errors.

import { startBrowser, startHub, sql, insert, check, finish, transaction } from './support.mjs';

const hub = await startHub();
const browser = await startBrowser();
const NOW = Date.now();
let clock = NOW - 3600e3;

/** Returns the SQL of a step, a second after the one before. */
function step(task_id, stream_type, row = {}) {
    clock += 1000;
    return insert('task_stream', { task_id, stream_type, agent_id: 'coder', created_at: clock, ...row });
}

let callCount = 0;
/** Returns the SQL of a call and its result. */
function call(task_id, tool_name, input, result = {}, row = {}) {
    const call_id = 'c' + ++callCount;
    const tool_input = typeof input === 'string' ? input : JSON.stringify(input);
    return [
        step(task_id, 'tool_use', { tool_name, tool_input, call_id, ...row }),
        step(task_id, 'tool_result', { tool_name, call_id, status: 'completed', ...row, ...result })
    ];
}

const PATH = 'src/' + 'deeply/nested/folders/'.repeat(8) + 'kept_visible.rs';
const OLD = 'fn main() {\n    old();\n    same();\n}';
const NEW = 'fn main() {\n    new();\n    more();\n    same();\n}';
const PATCH = '*** Begin Patch\n*** Update File: src/patched.rs\n@@\n-one\n+two\n+three\n*** End Patch';
const KINDS = {
    edit: ['Edit', { file_path: PATH, old_string: OLD, new_string: NEW }, { tool_output: 'done' }],
    multiEdit: [
        'MultiEdit',
        { file_path: 'a.rs', edits: [{ old_string: 'a', new_string: 'b\nc' }, { old_string: 'd\n', new_string: '' }] }
    ],
    write: ['Write', { file_path: 'notes/plan.py', content: 'x = 1\ny = 2\n' }],
    patch: ['apply_patch', PATCH],
    kimi: ['StrReplaceFile', { path: 'b.rs', edit: { old: 'a', new: 'b' } }],
    bash: [
        'Bash',
        { command: 'cargo test', description: 'Run the tests' },
        { tool_output: '\u001b[31mFAILED\u001b[0m', error_msg: 'exit code 101\nthe test resume failed', status: 'failed' }
    ],
    read: ['Read', { file_path: 'src/lib.rs', offset: 7 }, { tool_output: '     7→let x = 1;\n     8→' }],
    fetch: ['WebFetch', { url: 'https://docs.test/page', prompt: 'Say **what**' }, { tool_output: '# Answer' }],
    mcp: ['mcp__tracker__create_issue', { title: 'A', labels: ['bug'] }, { tool_output: 'made 7' }],
    other: ['Grep', { pattern: 'needle', path: 'src' }, { tool_output: 'src/a.rs:1: needle' }]
};
sql(
    transaction([
        step('kinds', 'status', { status: 'running', directive: 'Do each kind of step' }),
        step('kinds', 'turn_start', { turn_num: 1 }),
        ...Object.values(KINDS).flatMap(([tool, input, result]) => call('kinds', tool, input, result, { turn_num: 1 })),
        step('kinds', 'turn_end', { turn_num: 1, tokens_in: 27700, tokens_out: 358, cost: 0.04 }),
        step('kinds', 'status', { status: 'completed' })
    ])
);

await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');
await browser.goTo('tasks/kinds');
const names = Object.keys(KINDS);
check(
    await browser.eventually(`document.querySelectorAll('.step summary').length >= ${names.length}`),
    'each call is a step'
);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// ---- closed calls ----

/** The element of a call, as a JavaScript expression. */
const callOf = name => `[...document.querySelectorAll('.step > details:not([hidden])')][${names.indexOf(name)}]`;
const shownIn = (name, selector) =>
    browser.evaluate(
        `[...${callOf(name)}.querySelectorAll('${selector}')].filter(e => e.offsetParent).map(e => e.textContent)`
    );
async function checkShown(name, selector, expected, description) {
    const actual = await shownIn(name, selector);
    check(same(actual, expected), description, JSON.stringify(actual));
}
await checkShown('edit', '.file, .added, .removed', ['kept_visible.rs', '+2', '−1'], 'an edit: its file and its lines');
check(
    await browser.evaluate(
        `(e => e.querySelector('.file').getBoundingClientRect().right <= e.getBoundingClientRect().right && e.querySelector('.file').scrollWidth <= e.querySelector('.file').clientWidth && e.querySelector('.folder').scrollWidth > e.querySelector('.folder').clientWidth)(${callOf('edit')})`
    ),
    'of a long path, the file’s name is visible'
);
await checkShown('multiEdit', '.file, .added, .removed', ['a.rs', '+2', '−2'], 'several edits: their sum');
await checkShown('write', '.folder, .file, .added, .removed', ['notes/', 'plan.py', '+2'], 'a new file');
await checkShown('patch', '.folder, .file, .added, .removed', ['src/', 'patched.rs', '+2', '−1'], 'a patch: its file');
await checkShown('kimi', '.file', ['b.rs'], 'an edit of another vendor');
await checkShown(
    'bash',
    'summary > b, summary > .snippet, .exit-code, .error-line',
    ['Bash', 'cargo test', 'exit 101', 'the test resume failed'],
    'a command: its exit code and its error, while it is closed'
);
await checkShown('read', '.exit-code, .error-line, .added', [], 'a call without an error shows none');
await checkShown('fetch', 'summary > .snippet', ['https://docs.test/page'], 'a request: its address');
await checkShown('mcp', 'summary > b', ['tracker · create_issue'], 'a call of an MCP server: server and tool');
await checkShown('other', 'summary > b, summary > .snippet', ['Grep', 'needle'], 'a search: its pattern');
await browser.screenshot('steps-closed');

// ---- open calls ----

for (const name of names) {
    await browser.evaluate(`${callOf(name)}.open = true`);
    check(
        await browser.eventually(`${callOf(name)}.querySelector('.tool-io [data-rendered]')`),
        `${name} is rendered when it is opened`
    );
}
await checkShown('edit', '[data-change=added], [data-change=removed]', ['-    old();', '+    new();', '+    more();'], 'an edit is a diff');
await checkShown('edit', '.rendered-bar span', [PATH, ''], 'with its path');
await checkShown('write', '[data-kind=code] .rendered-bar span', ['notes/plan.py'], 'a new file is code with its path');
await checkShown('patch', '[data-change=added]', ['+two', '+three'], 'a patch is a diff');
await checkShown('bash', '[data-kind=code] .line', ['cargo test'], 'a command is code');
await checkShown('bash', '[data-kind=terminal] [data-color=red]', ['FAILED'], 'its output has colours');
await checkShown('bash', 'h4', ['Input', 'Output', 'Error'], 'and its error has a part');
await checkShown('read', '.tool-io p', ['src/lib.rs · offset 7'], 'a read file has its path');
check(
    (await browser.evaluate(`${callOf('read')}.querySelector('[data-number]')?.dataset.number`)) === '7',
    'and the numbers of its lines'
);
await checkShown('fetch', '.tool-io a, .tool-io strong, .rendered-heading', ['https://docs.test/page', 'what', 'Answer'], 'a request is a link and text');
await checkShown('mcp', '.json-key', ['title', 'labels', '0'], 'arguments are a tree');
await checkShown('mcp', '[data-kind=terminal] .line', ['made 7'], 'and the output is text');
await checkShown('other', '.json-key', ['pattern', 'path'], 'arguments of other calls are a tree');
for (const theme of ['light', 'dark']) {
    await browser.emulateMedia({ 'prefers-color-scheme': theme });
    for (const place of [0, 1]) {
        await browser.evaluate(`(s => { s.scrollTop = ${place} * s.scrollHeight / 2 })(document.querySelector('.tasks .timeline'))`);
        await browser.rendered();
        await browser.screenshot(`steps-open-${theme}-${place}`);
    }
}

// ---- turns ----

const header = number =>
    `[...document.querySelectorAll('.turn-header')].find(e => e.offsetParent && e.querySelector('b').textContent === 'Turn ${number}')`;
const figuresOf = number =>
    browser.evaluate(`[...${header(number)}.querySelectorAll('span')].filter(e => e.offsetParent).map(e => e.textContent).join(', ')`);
const isOpen = number => browser.evaluate(`${header(number)}?.getAttribute('aria-expanded')`);
const stepTexts = () =>
    browser.evaluate(
        `[...document.querySelectorAll('.step')].flatMap(e => [...e.querySelectorAll(':scope > .text, :scope > details')]).filter(e => e.offsetParent).map(e => e.innerText.trim().split('\\n')[0])`
    );
const figures = await figuresOf(1);
const seconds = 2 * names.length + 2;
check(figures === `${names.length} calls, 1 error, 27.7k in, 358 out, $0.04, ${seconds} s`, 'a turn says what is in it', figures);
check((await isOpen(1)) === 'true', 'the turns of a short task are open');
await browser.evaluate(`(s => { s.scrollTop = 0 })(document.querySelector('.tasks .timeline'))`);
await browser.rendered();
await browser.evaluate(`${header(1)}.click()`);
check(
    await browser.eventually(`document.querySelectorAll('.step').length === 2`),
    'a click closes the turn',
    JSON.stringify(await stepTexts())
);
await browser.press('c');
check(await browser.eventually(`${header(1)}?.getAttribute('aria-expanded') === 'true'`), 'c opens all turns');
await browser.press('e');
check(
    await browser.eventually(`document.querySelector('.step[data-selected] .exit-code')?.textContent === 'exit 101'`),
    'e selects the error'
);
await browser.press('c');
await browser.eventually(`${header(1)}?.getAttribute('aria-expanded') === 'false'`);
await browser.press('E');
check(
    await browser.eventually(`document.querySelector('.step[data-selected] .exit-code')?.textContent === 'exit 101'`),
    'E opens the turn of the error'
);

const LONG_TURNS = 12;
const LONG_STEPS = 30;
const longSteps = [];
for (let turn_num = 1; turn_num <= LONG_TURNS; turn_num++) {
    longSteps.push(step('long', 'turn_start', { turn_num }));
    for (let i = 0; i < LONG_STEPS; i++)
        longSteps.push(step('long', 'text', { turn_num, text: `text ${turn_num}-${i}` }));
}
sql(transaction(longSteps));
await browser.goTo('tasks/long');
const loadOlder = `document.querySelector('.step-search button:last-child')`;
await browser.eventually(header(LONG_TURNS));
for (let page = 0; page < 3 && (await browser.evaluate(`!!${loadOlder}.offsetParent`)); page++) {
    const count = await browser.state(`s.timelines.get('tasks/long').rows.length`);
    await browser.evaluate(`${loadOlder}.click()`);
    await browser.eventually(`import('./store.js').then(({ state }) => state.timelines.get('tasks/long').rows.length > ${count})`);
    await browser.rendered();
}
check(
    await browser.eventually(`${header(1)} && !${loadOlder}.offsetParent`),
    'older steps are loaded on request',
    await browser.text('.step-search')
);
const openTurns = `[...document.querySelectorAll('.turn-header[aria-expanded=true]')].filter(e => e.offsetParent).map(e => e.querySelector('b').textContent).join()`;
check(
    await browser.eventually(`${openTurns} === 'Turn ${LONG_TURNS}'`),
    'of a task with many turns the last one is open',
    await browser.evaluate(openTurns)
);
await browser.screenshot('turns-closed');
sql(step('long', 'turn_start', { turn_num: 13 }) + step('long', 'text', { turn_num: 13, text: 'the newest' }));
check(
    await browser.eventually(`${openTurns} === 'Turn 13'`),
    'while the reader follows, a new turn closes the one before',
    await browser.evaluate(openTurns)
);
// What the reader looks at stays where it is when steps above it are shown.
await browser.evaluate(`(s => { s.scrollTop = 0 })(document.querySelector('.tasks .timeline'))`);
await browser.evaluate(`${header(9)}.click()`);
await browser.rendered();
await browser.evaluate(`(s => { s.scrollTop = ${header(9)}.closest('.step').offsetTop })(document.querySelector('.tasks .timeline'))`);
await browser.rendered();
const topOf = `Math.round(${header(9)}?.getBoundingClientRect().top)`;
const before = await browser.evaluate(topOf);
await browser.press('c');
await browser.eventually(`document.querySelectorAll('.step').length === 60`);
const after = await browser.evaluate(topOf);
check(Math.abs(before - after) <= 1, 'what is at the top of the view keeps its place', before, after);

// ---- subagents ----

const nestedStep = (type, row) => step('agents', type, { turn_num: 1, parent_call_id: 'agent', ...row });
sql(
    transaction([
        step('agents', 'status', { status: 'running' }),
        step('agents', 'tool_use', { turn_num: 1, tool_name: 'Task', tool_input: '{"prompt":"look"}', call_id: 'agent' }),
        nestedStep('text', { text: 'nested text', tokens_in: 4000, tokens_out: 50 }),
        nestedStep('tool_use', { tool_name: 'Bash', tool_input: '{"command":"ls"}', call_id: 'inner' }),
        nestedStep('tool_result', { tool_name: 'Bash', tool_output: 'a', call_id: 'inner' })
    ])
);
await browser.goTo('tasks/agents');
const nestedToggle = `[...document.querySelectorAll('.nested-steps')].find(e => e.offsetParent)`;
const showsNested = `[...document.querySelectorAll('.step > .text')].some(e => e.offsetParent && e.textContent === 'nested text')`;
check(await browser.eventually(`${nestedToggle} && ${showsNested}`), 'the steps of a running subagent are shown');
await browser.screenshot('subagent');
sql(step('agents', 'tool_result', { turn_num: 1, tool_name: 'Task', tool_output: 'found', call_id: 'agent' }));
check(await browser.eventually(`!${showsNested}`), 'when it ends, they collapse under its call');
const nestedText = await browser.evaluate(`${nestedToggle}.textContent`);
check(nestedText === '2 nested steps, 4.0k in, 50 out', 'which says how many there are, and their tokens', nestedText);
await browser.evaluate(`${nestedToggle}.click()`);
check(await browser.eventually(showsNested), 'a click shows them');

// ---- search ----

const FOUND_FIRST = 'needle in a haystack';
sql(
    transaction([
        step('search', 'text', { text: FOUND_FIRST }),
        ...Array.from({ length: 250 }, (_, i) => step('search', 'text', { text: 'hay ' + i })),
        ...call('search', 'Bash', { command: 'sew' }, { tool_output: 'one NEEDLE (sharp)' }),
        step('search', 'text', { text: 'more hay' })
    ])
);
await browser.goTo('tasks/search');
await browser.eventually(`document.querySelectorAll('.step').length > 5`);
await browser.press('s');
check(await browser.evaluate(`document.activeElement.matches('.step-search input')`), 's focuses the search');
await browser.type('needle');
await browser.press('Enter');
const count = `document.querySelector('.step-search .count').textContent`;
check(await browser.eventually(`${count} === '1 of 1'`), 'loaded steps are searched', await browser.evaluate(count));
check(
    await browser.eventually(`document.querySelector('.step[data-selected] .tool-io')?.innerText.includes('NEEDLE')`),
    'the call whose output matches is selected and opened'
);
check(
    /Older steps are not loaded/.test(await browser.text('.step-search')),
    'the search says that older steps are not loaded',
    await browser.text('.step-search')
);
await browser.evaluate(`${loadOlder}.click()`);
check(await browser.eventually(`${count} === '1 of 2'`), 'and searches them on request', await browser.evaluate(count));
check(
    await browser.eventually(`document.querySelector('.step[data-selected]')?.innerText.includes('${FOUND_FIRST}')`),
    'the older match is selected'
);
await browser.press('Escape');
await browser.press('n');
check(await browser.eventually(`${count} === '2 of 2'`), 'n selects the next match', await browser.evaluate(count));
await browser.press('N');
check(await browser.eventually(`${count} === '1 of 2'`), 'N selects the previous match', await browser.evaluate(count));
await browser.press('s');
await browser.evaluate(`document.querySelector('.step-search input').select()`);
await browser.type('(sharp');
check(await browser.eventually(`${count} === '1 match'`), 'the text is no pattern', await browser.evaluate(count));
await finish(hub, browser);
