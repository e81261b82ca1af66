// Agents: each has its hue and its initials wherever it appears, its card shows the repository and the branch, and it
// has a page, to which its name leads.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
    startBrowser,
    startHub,
    sql,
    insert,
    transaction,
    check,
    finish,
    env,
    eventually,
    runHook,
    CTRL
} from './support.mjs';

const AGENTS = [
    'web-shop-codex',
    'web-shop-cursor',
    'web-shop-claude',
    'planner',
    'plotter',
    'reviewer',
    'coder-1',
    'coder-2',
    'docs-writer',
    'release-bot',
    'tester'
];
const HOSTILE = '<img src=x onerror=alert(1)> ' + 'very-long-name-'.repeat(6);
const MAIL_COUNT = 30;
const now = Date.now();
const folder = dirname(env.AGENTHUB_DB);
const shop = join(folder, 'shop');
const worktree = join(folder, 'shop-cart');

/** Makes a directory look like a repository with this branch. */
function writeHead(gitDirectory, branch) {
    mkdirSync(gitDirectory, { recursive: true });
    writeFileSync(join(gitDirectory, 'HEAD'), `ref: refs/heads/${branch}\n`);
}
writeHead(join(shop, '.git'), 'main');
writeHead(join(shop, '.git/worktrees/cart'), 'feature/cart');
mkdirSync(worktree);
writeFileSync(join(worktree, '.git'), `gitdir: ${join(shop, '.git/worktrees/cart')}\n`);

const hub = await startHub();
const browser = await startBrowser();
const agentRows = AGENTS.map((id, i) =>
    insert('agents', {
        id,
        status: 'running',
        workspace: id === 'web-shop-cursor' ? worktree : id === 'web-shop-codex' ? shop : '/nowhere/' + id,
        created_at: now - 1e6 + i
    })
);
sql(transaction(agentRows));
const step = row => insert('task_stream', { task_id: 'cart', agent_id: 'web-shop-codex', ...row });
sql(
    transaction([
        step({ stream_type: 'status', status: 'running', directive: 'Build the cart', created_at: now - 60000 }),
        ...['src/cart.rs', 'src/main.rs', 'src/cart.rs'].map((file, i) =>
            step({
                stream_type: 'tool_use',
                tool_name: 'Edit',
                tool_input: JSON.stringify({ file_path: join(shop, file) }),
                created_at: now - 50000 + i
            })
        ),
        step({
            stream_type: 'tool_use',
            tool_name: 'Bash',
            tool_input: JSON.stringify({ command: 'cargo test' }),
            created_at: now - 1000
        }),
        insert('telemetry', {
            instance_id: 'run',
            agent_id: 'web-shop-codex',
            model: 'gpt-5-codex',
            tokens_in: 1200,
            tokens_out: 300,
            cost: 0.25,
            cost_source: 'reported'
        }),
        insert('messages', { thread_id: 'build', from_id: 'web-shop-codex', content: 'tests are green' }),
        insert('messages', { thread_id: 'build', from_id: 'web-shop-cursor', content: 'mine too' }),
        insert('inbox_messages', {
            from_agent: 'web-shop-codex',
            to_inbox: 'human',
            id: 'question',
            message_type: 'request',
            title: 'Which price?',
            payload: 'Net or gross?'
        }),
        ...Array.from({ length: MAIL_COUNT }, (_, i) =>
            insert('inbox_messages', {
                from_agent: i % 2 ? 'web-shop-codex' : 'planner',
                to_inbox: i % 2 ? 'planner' : 'web-shop-codex',
                payload: 'mail ' + i,
                created_at: now - 1e5 - i
            })
        )
    ])
);
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');

// ---- hues and initials ----

const markOf = (root, name) =>
    browser.evaluate(
        `(e => e && [e.dataset.hue, e.textContent].join(' '))([...document.querySelectorAll('${root}')].find(e => e.offsetParent && e.innerText.includes('${name}'))?.querySelector('.initials'))`
    );
const cards = `[...document.querySelectorAll('.card')].filter(e => e.offsetParent)`;
check(await browser.eventually(`${cards}.length === ${AGENTS.length}`), 'each agent has a card');
const shown = () =>
    browser.evaluate(
        `${cards}.map(e => ({ name: e.querySelector('h3').textContent, hue: e.querySelector('.initials').dataset.hue, initials: e.querySelector('.initials').textContent }))`
    );
const before = await shown();
const distinct = (items, field) => new Set(items.map(item => item[field])).size;
check(distinct(before, 'hue') === AGENTS.length, 'agents that are shown together have different hues', before);
check(distinct(before, 'initials') === AGENTS.length, 'and different initials', before);
check(
    before.every(({ hue }) => /^\d+$/.test(hue) && Number(hue) < 12),
    'every hue is one that the page defines'
);
check(
    await browser.evaluate(
        `${cards}.every(e => { const name = e.querySelector('h3 a'); return name.scrollWidth <= name.clientWidth + 1; })`
    ),
    'names are shown in full'
);
await browser.open(hub.link());
check(await browser.eventually(`${cards}.length === ${AGENTS.length}`), 'the page was loaded again');
check(JSON.stringify(await shown()) === JSON.stringify(before), 'a reload keeps hues and initials');

const expected = await markOf('.card', 'web-shop-codex');
const sameMark = async (where, root, name = 'web-shop-codex') => {
    const isSame = await eventually(async () => (await markOf(root, name)) === expected);
    check(isSame, `${where}: the agent has the same mark`, await markOf(root, name), expected);
};
await sameMark('feed', '.feed .row', 'web-shop-codex');
await browser.goTo('threads/build');
await sameMark('thread', '.message', 'tests are green');
await browser.goTo('inbox/human');
await sameMark('inbox', '.inbox .row', 'Which price?');
await browser.goTo('costs');
await sameMark('costs', '.agent-cell', 'web-shop-codex');
await browser.goTo('tasks');
await sameMark('tasks', '.task-row', 'Build the cart');
await browser.goTo('tasks/cart');
await sameMark('task', '.task-facts', 'web-shop-codex');
await browser.goTo('now');
await browser.press('k', CTRL);
await browser.type('web-shop-codex');
await sameMark('palette', '.palette li', 'web-shop-codex');
check(
    /web-shop-codex\s+working\s+agent · now/.test(await browser.text('.palette li')),
    'the palette says what an agent does',
    await browser.text('.palette li')
);

// ---- the page of an agent, from the palette ----

await browser.press('Enter');
check(await browser.eventually(`location.hash === '#/agents/web-shop-codex'`), 'the palette opens the page of the agent');
const pageText = () => browser.evaluate(`document.querySelector('.agent-page').innerText`);
const shows = async (pattern, description) => {
    const isShown = await eventually(async () => pattern.test(await pageText()));
    check(isShown, description, isShown ? '' : await pageText());
};
check(
    await browser.eventually(
        `document.querySelector('.agent-page h1').textContent === 'web-shop-codex' && document.title.includes('web-shop-codex')`
    ),
    'the heading and the title are its name'
);
await shows(/gpt-5-codex/, 'it shows the model');
await shows(/shop\s+main/, 'it shows the repository and the branch');
await shows(/Works on:\s+Build the cart/, 'it shows the task');
await shows(/Bash\s+cargo test/, 'it shows the current step');
await shows(/Which price\?/, 'it shows what the agent asks');
await shows(/Today\s+\$0\.25\s+1\.2k/, 'it shows what was used today');
await shows(/In total\s+\$0\.25\s+1\.2k/, 'and in total');
await shows(/src\/cart\.rs\s+2 edits[\s\S]*src\/main\.rs\s+1 edit\b/, 'it shows the edited files, the last edited first');
await shows(/No tool has reported a session/, 'a part without rows says so');

// ---- mail ----

const mailRows = `[...document.querySelectorAll('.mail-history li')].filter(e => e.offsetParent).map(e => e.innerText.replace(/\\s+/g, ' '))`;
check(
    await browser.eventually(
        `${mailRows}.some(text => text.includes('planner → web-shop-codex')) && ${mailRows}.some(text => text.includes('web-shop-codex → planner'))`
    ),
    'mail both ways is listed',
    JSON.stringify(await browser.evaluate(mailRows))
);
check((await browser.evaluate(`${mailRows}[0]`)).includes('Which price?'), 'newest first');
const buttonWith = label =>
    `[...document.querySelectorAll('.agent-page button')].find(e => e.offsetParent && e.textContent === '${label}')`;
const older = buttonWith('Show older');
for (let i = 0; i < 5 && (await browser.evaluate(`!!${older}`)); i++) {
    await browser.click(older);
    await browser.rendered();
}
check(
    await browser.eventually(`${mailRows}.length === ${MAIL_COUNT + 1}`),
    'all mail can be shown',
    await browser.evaluate(`${mailRows}.length`)
);
await browser.click(buttonWith('With you'));
check(await browser.eventually(`${mailRows}.length === 1`), 'or only that with the person');

// ---- the message box ----

await browser.evaluate('document.activeElement.blur()');
await browser.press('m');
check(await browser.eventually(`document.activeElement.matches('.agent-message textarea')`), 'm goes to the message box');
await browser.type('Use gross prices');
await browser.goTo('agents/planner');
check(
    await browser.eventually(`document.querySelector('.agent-message textarea').value === ''`),
    'another agent has its own draft'
);
await browser.goTo('agents/web-shop-codex');
check(
    await browser.eventually(`document.querySelector('.agent-message textarea').value === 'Use gross prices'`),
    'the draft is kept'
);
await browser.evaluate(`document.querySelector('.agent-message textarea').focus()`);
await browser.press('Enter', CTRL);
check(
    await browser.eventually(`${mailRows}[0].includes('You → web-shop-codex')`),
    'the message appears in the history',
    JSON.stringify(await browser.evaluate(mailRows))
);
check(
    sql(`SELECT from_agent || '|' || to_inbox || '|' || payload FROM inbox_messages WHERE proof IS NOT NULL`) ===
        'human|web-shop-codex|Use gross prices',
    'it is a row of the person'
);
check(await browser.evaluate(`document.querySelector('.agent-message textarea').value === ''`), 'the box is empty again');

// ---- live ----

runHook('web-shop-codex', 'SessionStart', { source: 'startup', permission_mode: 'default', cwd: shop });
await shows(/Claude Code\s+○?\s*open/, 'a session appears when it begins');
await shows(/session since/, 'the header says since when');
sql(
    step({
        stream_type: 'tool_use',
        tool_name: 'Write',
        tool_input: JSON.stringify({ file_path: '/elsewhere/<b>new</b>.md', content: 'x' })
    })
);
await shows(/\/elsewhere\/<b>new<\/b>\.md\s+1 edit/, 'a file appears when it is edited, with its path as text');
writeHead(join(shop, '.git'), 'release/2');
await shows(/shop\s+release\/2/, 'the branch follows');

// ---- links ----

const leadsTo = async (route, link, target) => {
    await browser.goTo(route);
    const isLink = await browser.eventually(`${link}?.getAttribute('href') === '#/${target}'`);
    check(isLink, `${route}: the link leads to ${target}`, await browser.evaluate(`${link}?.getAttribute('href')`));
};
const cardOf = name => `${cards}.find(e => e.querySelector('h3').textContent === '${name}')`;
const agentRoute = 'agents/web-shop-codex';
await leadsTo('now', `${cardOf('web-shop-codex')}?.querySelector('h3 a')`, agentRoute);
await leadsTo('now', `${cardOf('web-shop-codex')}?.querySelector('.current-step')`, 'tasks/cart');
check(
    await browser.eventually(
        `/shop\\s+feature\\/cart/.test(${cardOf('web-shop-cursor')}.querySelector('.place').innerText)`
    ),
    'the card of an agent in a worktree shows the repository and its branch'
);
check(
    (await browser.evaluate(`${cardOf('tester')}.querySelector('.place').innerText`)) === 'tester',
    'without a repository it shows the directory'
);
await leadsTo('threads/build', `document.querySelector('.message-header a')`, agentRoute);
await leadsTo('inbox/human/question', `document.querySelector('.mail-view .facts a')`, agentRoute);
await leadsTo('tasks/cart', `document.querySelector('.task-facts a')`, agentRoute);
await leadsTo('costs', `document.querySelector('.agent-cell a')`, agentRoute);

// ---- an agent that does not exist, and one with a hostile name ----

await browser.goTo('agents/stranger');
await shows(/No such agent/, 'an unknown name has a page that says so');
check(
    (await browser.evaluate(`document.querySelector('.agent-page .initials').dataset.hue`)) === undefined,
    'its mark is grey'
);
sql(insert('agents', { id: HOSTILE, status: 'running' }));
for (const name of ['.', '..']) {
    await browser.goTo('agents/' + name);
    await shows(/No such agent/, `a browser cannot ask for “${name}”: the page says that there is no such agent`);
}
await browser.goTo('agents/' + encodeURIComponent(HOSTILE));
check(
    await browser.eventually(`document.querySelector('.agent-page h1').textContent.startsWith('<img src=x')`),
    'a name is text'
);
check(await browser.evaluate(`!document.querySelector('.agent-page img')`), 'and never markup');
await browser.press('g');
await browser.press('a');
check(
    await browser.eventually(
        `location.hash === '#/agents' && [...document.querySelectorAll('.agent-list li')].filter(e => e.offsetParent).length === ${AGENTS.length + 1}`
    ),
    'g a lists all agents'
);
await finish(hub, browser);
