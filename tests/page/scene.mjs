// A morning of six agents, as rows: what screenshots, the keyboard walk and axe look at.
// The same rows every time but for their times, which end at now.

import { insert, transaction } from './support.mjs';

let seed = 7;
const random = n => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n,
    pick = list => list[random(list.length)];
const M = 60000,
    H = 60 * M,
    D = 24 * H,
    SRC = '/home/ada/src/';

const AGENTS = [
    ['planner', 'agenthub', 'claude-opus-4-5', 'running'],
    ['coder-1', 'agenthub', 'gpt-5-codex', 'running'],
    ['coder-2', 'agenthub', 'gemini-3-pro', 'running'],
    ['reviewer', 'agenthub', 'claude-opus-4-5', 'error'],
    ['docs-writer', 'site', 'claude-haiku-4-5', 'completed'],
    ['release-bot', 'agenthub', 'gpt-5-codex', 'completed']
];
const LINES = [
    'tests are green',
    'rebased on main, 3 conflicts resolved in `store/writer.rs`',
    'Taking this one.',
    'clippy is clean; 214 tests, 0 failed',
    'ok',
    'The watcher misses renames on overlayfs; falling back to the poll keeps p99 under 30 ms.\n\nI would rather keep both and let the timer decide.',
    'Need a decision: keep the cursor **opaque**, or document its fields?',
    'The draft of the changelog is in docs/CHANGELOG.md, please read it before noon.',
    '```\nerror[E0502]: cannot borrow `rows` as mutable because it is also borrowed as immutable\n  --> src/store/changes.rs:118:9\n```\nFixed by taking the length first.',
    'See https://sqlite.org/wal.html for the reason.'
];
const HOSTILE = 'مرحبا \u202eevil\u202c <img src=x onerror=alert(1)> \x1b[31mred\x1b[0m [x](javascript:alert(1))';
const TOOLS = [
    ['Bash', { command: 'cargo test --workspace -- --nocapture resume' }, 'test result: ok. 214 passed; 0 failed; finished in 12.41s'],
    ['Read', { file_path: SRC + 'agenthub/src/store/changes.rs' }, '//! The one ordered log.\n'],
    [
        'Edit',
        { file_path: SRC + 'agenthub/src/watch.rs', old_string: 'let wait = POLL;', new_string: 'let wait = POLL.min(left);\nlet look = true;' },
        'ok'
    ],
    ['Grep', { pattern: 'fn look', path: 'src' }, 'src/watch.rs:88\nsrc/hub/look.rs:31']
];
const TALK = [
    'The event fires before the commit is visible, so one look is not enough: look again within microseconds, then back off.',
    'I will read the writer first, then the trigger that assigns `message_seq`.',
    'Both paths are covered now. Running everything once more.'
];

/** All of it, as one text of SQL. `messages` in the busiest thread. */
export function scene({ messages = 240, now = Date.now() } = {}) {
    const out = [],
        add = (table, row) => out.push(insert(table, row));
    for (const [id, workspace, , status] of AGENTS)
        out.push(
            insert('agents', {
                id,
                workspace: SRC + workspace,
                status: status === 'running' ? 'running' : 'idle',
                last_active_at: now - 4 * M
            }).replace('INSERT', 'INSERT OR IGNORE')
        );
    const threads = [
        ['build', '', 0],
        ['cursor', 'API redesign: opaque cursors everywhere', 9],
        ['flaky-tests', '', 26],
        ['release-0.4', 'Release 0.4', 51],
        ['docs', '', 80]
    ];
    threads.reverse().forEach(([id, title, ago]) => {
        const n = id === 'build' ? messages : 9 + random(30),
            end = now - ago * M;
        if (title) out.push(insert('threads', { id, title }).replace('INSERT', 'INSERT OR IGNORE'));
        for (let i = n; i--;)
            add('messages', {
                thread_id: id,
                from_id: pick(AGENTS)[0],
                content: i === 3 && id === 'build' ? HOSTILE : pick(LINES),
                kind: pick(['status', 'status', 'status', 'status', 'question', 'proposal', 'result', 'directive']),
                to_id: pick(['', '', '', 'planner']),
                created_at: end - i * 23000
            });
        if (id === 'cursor')
            add('messages', {
                thread_id: id,
                from_id: 'human',
                from_type: 'human',
                kind: 'directive',
                to_id: 'coder-1',
                content: 'Keep it opaque. Nobody may parse it.',
                created_at: end
            });
    });
    out.push("UPDATE threads SET status = 'resolved' WHERE id = 'docs';\n");

    const mail = (from_agent, to_inbox, title, payload, more = {}) => add('inbox_messages', { from_agent, to_inbox, title, payload, ...more });
    for (let i = 24; i--;)
        mail(
            pick(AGENTS)[0],
            pick(AGENTS)[0],
            pick(['Please review store/changes.rs', 'Build finished', 'Hand-off: the parser', 'Question on retention']),
            'The change is on the branch `cursor`.\n\nNothing else is waiting for it.',
            { created_at: now - i * 11 * M - 40000, status: pick(['unread', 'read', 'read']) }
        );
    mail('docs-writer', 'human', 'Docs are up', 'See docs/.', { created_at: now - 3 * H, status: 'read', read_at: now - 2 * H });
    mail('planner', 'human', 'Plan for this afternoon', '1. finish the watcher\n2. flaky tests\n3. release', { created_at: now - 63 * M });
    mail(
        'reviewer',
        'human',
        'Two designs for the cursor',
        'A: one opaque string of epoch, sequence and tag.\nB: three documented fields.\n\nI lean to A. Which one?',
        { message_type: 'request', priority: 'action', correlation_id: 'corr-2', created_at: now - 17 * M }
    );
    mail(
        'release-bot',
        'human',
        'Ship 0.4.0?',
        'All 214 tests pass on Linux and macOS.\nThe changelog is written; the tag is not pushed yet.\n\nShip it?',
        { message_type: 'approval_request', priority: 'urgent', correlation_id: 'corr-1', id: 'ship', created_at: now - 4 * M }
    );

    for (let day = 29; day >= 0; day--)
        AGENTS.forEach(([agent_id, , model, status], i) => {
            if (day && random(3) === 0) return;
            const turns = 4 + random(30),
                tokens_in = turns * (9000 + random(30000)),
                unknown = model.startsWith('gpt');
            add('telemetry', {
                instance_id: `${agent_id}-${day}`,
                agent_id,
                model,
                turns,
                tokens_in,
                tokens_cached: Math.floor(tokens_in * (0.4 + random(50) / 100)),
                tokens_out: turns * (200 + random(900)),
                cost: unknown ? 0 : tokens_in * 4e-6,
                cost_source: unknown ? 'unknown' : 'reported',
                status: day ? 'completed' : status,
                created_at: now - day * D - (day ? random(5) * M : i * 9000)
            });
        });

    const W = [
        'Make the watcher notice a replaced file within a second',
        'Fix the flaky test in it/resume.rs',
        'Review the schema triggers',
        'Write the five-minute guide',
        'Cut the release notes for 0.4'
    ];
    const tasks = [
        ['t-watch', 1, 0, 'running', 7],
        ['t-flaky', 2, 1, 'running', 4],
        ['t-review', 3, 2, 'failed', 6],
        ['t-guide', 4, 3, 'completed', 5],
        ['t-notes', 5, 4, 'completed', 3]
    ];
    for (const [task_id, a, w, status, turns] of tasks) {
        const [agent_id, workspace, model] = AGENTS[a],
            running = status === 'running';
        let t = now - (running ? 9 * M : (20 + 14 * w) * M),
            call = 0;
        const step = (stream_type, row = {}, s = 1) =>
            add('task_stream', { task_id, stream_type, agent_id, model, workspace: SRC + workspace, created_at: (t += s * 1000), ...row });
        step('status', { status: 'running', directive: W[w], directive_full: W[w] });
        for (let turn_num = 1; turn_num <= turns; turn_num++) {
            step('turn_start', { turn_num });
            step('text', { turn_num, text: pick(TALK) });
            for (let k = 2 + random(3); k--;) {
                const [tool_name, input, tool_output] = pick(TOOLS),
                    call_id = `${task_id}-${++call}`,
                    wrong = random(9) === 0;
                step('tool_use', { turn_num, tool_name, tool_input: JSON.stringify(input), call_id });
                if (running && turn_num === turns && !k) {
                    t = now - 21000;
                    add('task_stream', {
                        task_id,
                        stream_type: 'tool_use',
                        agent_id,
                        tool_name: 'Bash',
                        tool_input: '{"command":"cargo test --workspace"}',
                        call_id: call_id + 'x',
                        created_at: t
                    });
                }
                if (tool_name === 'Grep') {
                    step('tool_use', {
                        turn_num,
                        tool_name: 'Read',
                        tool_input: '{"file_path":"src/watch.rs"}',
                        call_id: call_id + 's',
                        parent_call_id: call_id
                    });
                    step('tool_result', {
                        turn_num,
                        tool_name: 'Read',
                        tool_output: '//! When to look.',
                        call_id: call_id + 's',
                        parent_call_id: call_id
                    });
                }
                step(
                    'tool_result',
                    {
                        turn_num,
                        tool_name,
                        tool_output: wrong ? '' : tool_output,
                        error_msg: wrong ? 'exit code 101' : '',
                        status: wrong ? 'failed' : 'completed',
                        call_id
                    },
                    1 + random(14)
                );
            }
            if (!running || turn_num < turns)
                step('turn_end', { turn_num, tokens_in: 21000 + random(30000), tokens_out: 400 + random(900), cost: (5 + random(40)) / 100 }, 3);
        }
        if (status === 'failed') step('error', { error_msg: 'the model gave up after three failed builds' });
        if (!running) step('status', { status, text: status === 'failed' ? '' : 'All done.' });
    }
    return transaction(out);
}
