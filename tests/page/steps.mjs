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
await finish(hub, browser);
