// Rendered texts: messages and inbox messages become elements for Markdown, code, tables, JSON, diffs and terminal
// output; long blocks fold; Copy copies; one request has the texts of many rows. Hostile texts run nothing, violate no
// policy and become no other elements.

import { startBrowser, startHub, sql, insert, check, finish, transaction } from './support.mjs';

const hub = await startHub();
const browser = await startBrowser();

const FENCE = '```';
const CODE_LINES = 60;
const code = Array.from({ length: CODE_LINES }, (_, i) => `let line${i + 1} = ${i};`).join('\n');
const TEXTS = {
    markdown:
        '# Title\n\nSome **bold**, *emphasis*, ~~struck~~ and `code`.\n\n- [x] done\n- [ ] open\n\n1. one\n2. two\n\n> quoted\n\n|name|count|\n|:-|-:|\n|a|1|\n\n---\n\n[docs](https://docs.test/a) and https://bare.test/b',
    code: `${FENCE}rust\nfn main() {} // entry\n${FENCE}`,
    long: `${FENCE}js\n${code}\n${FENCE}`,
    json: '{"name":"<b>x</b>","list":[1,true,null]}',
    diff: 'diff --git a/a.rs b/a.rs\n--- a/a.rs\n+++ b/a.rs\n@@ -7,2 +7,2 @@ fn main\n same\n-old\n+new\n',
    terminal: `${FENCE}\n\u001b[1;31merror\u001b[0m: failed\n${FENCE}`,
    emoji: '👩\u200d💻 **a\u200db**'
};
const IMAGE = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const HOSTILE = [
    '<img src=x onerror=pwn()>',
    '<svg onload=pwn()><script>pwn()</script></svg>',
    '**<script>pwn()</script>**',
    '[a](javascript:pwn())',
    '[a](JaVa\tScRiPt:pwn())',
    '[a](javascript&colon;pwn())',
    '[a](&#x6A;avascript:pwn())',
    '[a](\u0001javascript:pwn())',
    '[a](data:text/html;base64,PHNjcmlwdD5wd24oKTwvc2NyaXB0Pg==)',
    '![a](https://evil.test/pixel.png)',
    '![a](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9cHduKCk+)',
    '![a](data:image/png;base64,x"onerror="pwn())',
    '<a href="javascript:pwn()">x</a> <iframe srcdoc="<script>parent.pwn()</script>"></iframe>',
    `${FENCE}"><img/src=x/onerror=pwn()>\n<script>pwn()</script>\n${FENCE}`,
    '|<img src=x onerror=pwn()>|\n|-|\n|[a](javascript:pwn())|',
    '{"<img src=x onerror=pwn()>":["</script><script>pwn()</script>"],"__proto__":{"type":"image"}}',
    'diff --git a/<img src=x onerror=pwn()> b/<b>\n--- a/<img src=x onerror=pwn()>\n+++ b/<b>\n@@ -1 +1 @@ <script>pwn()</script>\n-<i>\n+<svg onload=pwn()>\n',
    `${FENCE}ansi\n\u001b]8;;javascript:pwn()\u001b\\link\u001b]8;;\u001b\\ \u001b[38;2;1;2;3mcolor\n${FENCE}`,
    '> '.repeat(300) + '<img src=x onerror=pwn()>',
    '<style>*{background:url(//evil.test)}</style> <base href=//evil.test> <form action=//evil.test><input>',
    'https://evil.test/"onmouseover="pwn()'
];
const statements = Object.entries(TEXTS).map(([id, content], i) =>
    insert('messages', { id, thread_id: 'texts', from_id: 'a' + i, content })
);
HOSTILE.forEach((content, i) => {
    statements.push(insert('messages', { id: 'hostile ' + i, thread_id: 'hostile', from_id: 'a' + i, content }));
    statements.push(
        insert('inbox_messages', { id: 'hostile' + i, from_agent: 'a' + i, to_inbox: 'human', payload: content })
    );
    statements.push(
        insert('task_stream', { task_id: 'hostile', stream_type: 'text', agent_id: 'a', text: content })
    );
});
statements.push(insert('messages', { id: 'image', thread_id: 'image', from_id: 'a', content: `![dot](${IMAGE})` }));
for (let i = 0; i < 50; i++)
    statements.push(insert('messages', { thread_id: 'many', from_id: 'a' + i, content: `**bold ${i}**` }));
statements.push(insert('messages', { id: 'too long', thread_id: 'too-long', from_id: 'a', content: '**x** '.repeat(50000) }));
sql(transaction(statements));

await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');
await browser.evaluate(
    `window.violations = []; window.copied = []; window.pwn = () => { window.caught = true };
     addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI));
     Object.defineProperty(navigator, 'clipboard', { value: { writeText: async text => { copied.push(text); } } });`
);

/** The numbers of the messages in their threads, by id. */
const numbers = JSON.parse(sql("SELECT json_group_object(id, message_seq) FROM messages;"));
/** The element that shows a message, as a JavaScript expression. */
const textOf = id =>
    `[...document.querySelectorAll('.message')].find(e => e.querySelector('.gutter').textContent === '${numbers[id]}')?.querySelector('.text')`;
const isRendered = id => browser.eventually(`${textOf(id)}?.hasAttribute('data-rendered')`);
const countIn = (id, selector) => browser.evaluate(`${textOf(id)}.querySelectorAll(${JSON.stringify(selector)}).length`);
const shown = (id, selector) =>
    browser.evaluate(`[...${textOf(id)}.querySelectorAll(${JSON.stringify(selector)})].map(e => e.textContent)`);
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);
async function checkShown(id, selector, expected, description) {
    const actual = await shown(id, selector);
    check(equal(actual, expected), description, JSON.stringify(actual));
}

// ---- every kind of text ----

await browser.goTo('threads/texts');
for (const id of Object.keys(TEXTS)) check(await isRendered(id), `${id} is rendered`);
await checkShown('markdown', '[role=heading]', ['Title'], 'headings');
await checkShown('markdown', 'strong, em, s, p > code', ['bold', 'emphasis', 'struck', 'code'], 'emphasis');
await checkShown('markdown', 'li', ['✓done', 'open', 'one', 'two'], 'lists and tasks');
await checkShown('markdown', 'blockquote', ['quoted'], 'quotes');
await checkShown('markdown', 'th, td', ['name', 'count', 'a', '1'], 'tables');
check((await countIn('markdown', 'td[data-align=right]')) === 1, 'columns are aligned');
check(
    equal(
        await browser.evaluate(`[...${textOf('markdown')}.querySelectorAll('a')].map(a => [a.href, a.title, a.rel, a.target])`),
        ['https://docs.test/a', 'https://bare.test/b'].map(href => [href, href, 'noreferrer noopener', '_blank'])
    ),
    'links say where they lead'
);
await checkShown('markdown', '.link-target', [' (https://docs.test)'], 'a link with other text shows its host');
await checkShown('code', '[data-token=keyword], [data-token=comment]', ['fn', '// entry'], 'code has token classes');
await checkShown('json', '.json-key', ['name', 'list', '0', '1', '2'], 'JSON is a tree');
await checkShown('diff', '[data-change=removed], [data-change=added]', ['8-old', '8+new'], 'diffs have numbers and signs');
await checkShown('terminal', '[data-color=red][data-style=bold]', ['error'], 'terminal output has colours');
await checkShown('emoji', 'strong', ['a⟨200d⟩b'], 'a joiner between Latin letters is marked');
check(
    await browser.evaluate(`${textOf('emoji')}.textContent.startsWith('👩\\u200d💻')`),
    'a joiner within an emoji stays'
);
await browser.screenshot('rendered-texts');

const labels = await browser.evaluate(
    `import('./safe_text.js').then(({ safeText }) => ['👩\u200d💻 🏳\ufe0f\u200d🌈', 'می\u200cخواهم क\u094d\u200dष',
        'pay\u200dpal', '👩\u200d', '\u200d👩', 'a\u202eb\u200bc'].map(text => safeText(text)))`
);
check(
    equal(labels, ['👩\u200d💻 🏳\ufe0f\u200d🌈', 'می\u200cخواهم क\u094d\u200dष', 'pay⟨200d⟩pal', '👩⟨200d⟩', '⟨200d⟩👩', 'a⟨202e⟩b⟨200b⟩c']),
    'plain text keeps joiners within emoji and joining scripts, and marks the others',
    JSON.stringify(labels)
);

// ---- folding and copying ----

const longLines = () => countIn('long', '.line');
const foldButton = `${textOf('long')}.querySelector('button.fold')`;
check((await longLines()) === 40, 'a long block shows its first lines', await longLines());
await browser.click(foldButton);
check((await longLines()) === CODE_LINES, 'its button shows all lines', await longLines());
check(await browser.evaluate(`${foldButton}.getAttribute('aria-expanded') === 'true'`), 'the button is expanded');
await browser.click(foldButton);
check((await longLines()) === 40, 'and folds them again');
for (const [id, expected] of [
    ['long', code],
    ['code', 'fn main() {} // entry'],
    ['diff', '@@ fn main\n same\n-old\n+new'],
    ['terminal', 'error: failed'],
    ['json', JSON.stringify(JSON.parse(TEXTS.json), null, 2)]
]) {
    // Not with the mouse: the button that leads to the latest message may cover it.
    await browser.evaluate(`${textOf(id)}.querySelector('button.copy').click()`);
    const copied = await browser.evaluate('copied.at(-1)');
    check(copied === expected, `Copy of ${id} copies the text`, JSON.stringify(copied));
}

// ---- requests ----

const requests = () =>
    browser.evaluate(`performance.getEntriesByType('resource').filter(e => new URL(e.name).pathname === '/api/rendered').map(e => e.name)`);
const before = (await requests()).length;
await browser.goTo('threads/many');
check(
    await browser.eventually(`document.querySelectorAll('.message .text[data-rendered] strong').length === 50`),
    'all messages of a thread are rendered'
);
check((await requests()).length === before + 1, '50 messages are one request', (await requests()).length - before);
await browser.goTo('threads/texts');
check(await isRendered('markdown'), 'a thread is rendered when it is opened again');
check((await requests()).length === before + 1, 'without a request');
const atEnd = `(s => s.scrollHeight - s.scrollTop - s.clientHeight < 30)(document.querySelector('[data-view=threads] .timeline, .threads .timeline, .timeline'))`;
check(await browser.eventually(atEnd), 'the view still follows the newest message');
await browser.goTo('threads/too-long');
check(await browser.eventually(`${textOf('too long')}?.textContent.startsWith('**x** **x**')`), 'a text over the limit is plain');
check(await browser.evaluate(`${textOf('too long')}.textContent.length < 21000`), 'and at first only its beginning');
await browser.click(`${textOf('too long')}.querySelector('button')`);
check(
    await browser.eventually(`${textOf('too long')}.textContent === '**x** '.repeat(50000)`),
    'Show all shows the rest of it'
);
await browser.goTo('threads/image');
check(await isRendered('image'), 'a message with an image is rendered');
check(await browser.eventually(`${textOf('image')}.querySelector('img')?.naturalWidth === 1`), 'an image in the text is shown');

// ---- hostile texts ----

const ALLOWED = 'p,br,strong,em,s,code,a,span,ul,ol,li,blockquote,hr,div,pre,button,table,thead,tbody,tr,th,td,details,summary,time';
const suspicious = `[...document.querySelectorAll('.text *, .mail-body *')].filter(e => !e.matches(${JSON.stringify(ALLOWED)})
    || [...e.attributes].some(a => /^on|^srcdoc$|^formaction$|^style$/i.test(a.name) && !/^--(color|background): #[0-9a-f]{6};$/.test(a.value))
    || (e.hasAttribute('href') && !/^https?:|^mailto:/.test(e.getAttribute('href'))) || e.hasAttribute('src')).map(e => e.outerHTML.slice(0, 200))`;
async function checkHarmless(where) {
    await browser.rendered();
    await browser.evaluate(
        `document.querySelectorAll('.text *, .mail-body *').forEach(e => { for (const type of ['mouseover', 'focus', 'error', 'load']) e.dispatchEvent(new Event(type)); })`
    );
    const found = await browser.evaluate(suspicious);
    check(found.length === 0, `${where}: only allowed elements`, found.join('\n'));
    check(await browser.evaluate('window.caught === undefined'), `${where}: nothing runs`);
    const violations = await browser.evaluate('violations');
    check(violations.length === 0, `${where}: no violation of the policy`, violations.join('\n'));
}

await browser.goTo('threads/hostile');
// The URL is the only hostile text with nothing but an address.
for (let i = 0; i < HOSTILE.length; i++) check(await isRendered('hostile ' + i), `hostile text ${i} is rendered`);
await checkHarmless('messages');
await browser.goTo('tasks/hostile');
check(
    await browser.eventually(`document.querySelectorAll('.step > .text[data-rendered]').length >= ${HOSTILE.length}`),
    'texts of steps are rendered'
);
await checkHarmless('steps');
for (let i = 0; i < HOSTILE.length; i++) {
    await browser.goTo('inbox/human/hostile' + i);
    check(await browser.eventually(`document.querySelector('.mail-body[data-rendered]')`), `inbox message ${i} is rendered`);
    await checkHarmless('inbox message ' + i);
}
// Nodes that the hub does not send.
const built = await browser.evaluate(
    `import('./components/rendered_blocks.js').then(({ buildBlocks }) => {
        const node = document.createElement('div');
        node.append(...buildBlocks([
            { type: 'html', html: '<img src=x onerror=pwn()>' }, { type: 'constructor' }, { type: '__proto__' },
            { type: 'paragraph', children: [
                { type: 'link', href: 'javascript:pwn()', children: [{ type: 'text', text: 'link' }] },
                { type: 'image', src: 'https://evil.test/x.png', alt: 'alt' }, { type: 'toString' },
            ] },
            { type: 'terminal', lines: [[{ text: 'x', color: 'red;background:url(//evil.test)' }]] },
        ]));
        return [node.textContent, node.querySelectorAll('a, img, [href], [src], [style]').length];
    })`
);
check(equal(built, ['linkaltCopyx', 0]), 'unknown nodes and addresses are left out', JSON.stringify(built));
const foreign = [...browser.requestedUrls].filter(url => /evil\.test/.test(url));
check(foreign.length === 0, 'nothing is requested from another host', foreign.join(' '));
check(browser.consoleLog.length === 0, 'the console is empty', browser.consoleLog.join('\n'));
await finish(hub, browser);
