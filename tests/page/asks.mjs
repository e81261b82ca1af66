// Who needs the person, and that an answer goes to the question it was meant for: what
// moves under a hand, what is sent twice, mail to everybody, names with a slip, many unread.

import { agenthub, browser, hub, sql, insert, transaction, ok, end, until } from './support.mjs';

const h = await hub(),
    b = await browser();
const mail = (id, from_agent, more = {}) =>
    sql(
        insert('inbox_messages', { id, from_agent, to_inbox: 'human', title: id + '?', payload: id + '?', message_type: 'approval_request', ...more })
    );
const shown = `[...document.querySelectorAll('.ask')].filter(e => e.offsetParent)`,
    yes = `[...document.querySelectorAll('.ask button')].find(e => e.offsetParent && e.textContent === 'Yes')`;
const asked = id => `${shown}.some(e => e.innerText.includes('${id}?'))`,
    title = () => b.ev('document.title');
const answers = () => sql(`SELECT coalesce(group_concat(to_inbox || ':' || payload), '') FROM inbox_messages WHERE from_agent = 'human'`);
const icon = () => b.ev(`document.querySelector('[rel=icon]').href.startsWith('data:')`);
async function clear() {
    sql(`UPDATE inbox_messages SET status = 'read'`);
    await b.mouse('mouseMoved', [1, 1]);
    await b.ev('document.activeElement.blur()');
    ok(await b.until(`!${shown}.length`), 'nothing waits');
}

await b.go(h.base + '/#token=%zz');
ok(await b.until(`document.querySelector('.lock')`), 'a token that is none locks the page and breaks nothing');
await b.go(h.url);
ok(await b.live(), 'live');

// An agent that only reads, and one that only says it is there: no event names them.
sql(insert('agents', { id: 'newcomer', workspace: '/x/y' }));
ok(await b.until(`document.querySelector('.board').innerText.includes('newcomer')`), 'an agent that has written nothing appears');
sql(`UPDATE agents SET label = 'New Name', status = 'running' WHERE id = 'newcomer'`);
ok(await b.until(`document.querySelector('.card')?.innerText.includes('New Name')`), 'its label and state are followed');

// A pointer that rests is not moved on to another question.
mail('cache', 'a1');
await b.until(yes + ' && 1');
ok(await until(async () => b.ev(`!${shown}[0].parentNode.hasAttribute('data-new')`)), 'the card has settled');
const at = await b.middle(yes);
await b.mouse('mouseMoved', at);
mail('production', 'evil', { priority: 'urgent' });
ok(await b.until(asked('production')), 'a second question comes while the pointer rests on the first');
ok(await b.ev(`document.querySelector('.ask').innerText.includes('cache?')`), 'and stands below it');
for (const type of ['mousePressed', 'mouseReleased']) await b.mouse(type, at);
ok(await until(() => answers() === 'a1:yes'), 'the click answers the question it rested on', answers());
ok(await b.until(`!document.querySelector('.ask').contains(${yes})`), 'an answered question has no buttons left');
for (const type of ['mousePressed', 'mouseReleased']) await b.mouse(type, at);
await b.drawn();
mail('later', 'a3');
ok(await b.until(asked('later')), 'the next question appears although the pointer is still there');
ok(answers() === 'a1:yes', 'a second click at the same place sends nothing', answers());
ok((await b.until(`document.title === '(2) agenthub'`)) && (await icon()), 'two wait, says the title and the icon', await title());

// Where a card has just come to stand no click counts.
await clear();
mail('fresh', 'a4');
const met = `document.elementFromPoint(...(r => [r.x + r.width / 2, r.y + r.height / 2])((${yes}).getBoundingClientRect()))?.closest('button')`;
ok(
    // Looked at when it comes, and not half a second later.
    await b.ev(
        `new Promise(said => { const look = () => (${yes} ? said(!document.querySelector('.ask').contains(${met})) : requestAnimationFrame(look)); look(); })`
    ),
    'a card that came just now takes no click'
);
await b.click(yes);
ok(await until(() => answers() === 'a1:yes,a4:yes'), 'soon after it does', answers());
const sent = await b.ev(
    `import('./sync.js').then(async s => { const m = { id: 'twice', from_agent: 'a5', message_id: 'm', status: 'unread', payload: '' }; await Promise.allSettled([s.answer(m, 'yes'), s.answer(m, 'yes')]); })`
);
ok(sent == null && sql(`SELECT count(*) FROM inbox_messages WHERE to_inbox = 'a5'`) === '1', 'the same answer sent twice is one row');

// Keys act on the question that has the focus.
await clear();
for (const i of [1, 2, 3]) mail('k' + i, 'ag' + i, { message_type: 'request', created_at: Date.now() - 10000 + i });
await b.until(`${shown}.length === 3`);
await b.ev(`${shown}[2].querySelector('a').focus()`);
await b.key('a');
ok(
    await until(() => sql(`SELECT coalesce(group_concat(id), '') FROM inbox_messages WHERE status = 'read' AND id LIKE 'k_'`) === 'k3'),
    '`a` marks the focused one'
);
await b.key('r');
await b.type('by hand');
await b.key('Enter');
ok(await until(() => /ag\d:by hand/.test(answers())), 'r and Enter answer by keyboard alone', answers());

// What one word can answer.
await clear();
for (const [id, q] of Object.entries({
    q1: 'May I deploy it? (yes or no)',
    q2: 'Which of the two?',
    q3: 'Delete the author table?',
    q4: 'Red or blue?'
}))
    mail(id, id, { title: q, payload: q, message_type: 'request' });
await b.until(`${shown}.length === 4`);
const quick = await b.ev(
    `${shown}.map(e => e.querySelector('.what').textContent.slice(0, 3) + [...e.querySelectorAll('button')].some(x => x.offsetParent && x.textContent === 'Yes')).sort().join()`
);
ok(quick === 'Deltrue,Maytrue,Redfalse,Whifalse', 'Yes and No stand where one word answers', quick);

// Another's claim, and mail to all.
await clear();
sql(
    insert('inbox_messages', {
        from_agent: 'a',
        to_inbox: 'human',
        title: 'claimed',
        payload: 'x',
        claimed_by: 'bob',
        claim_expires_at: Date.now() + 600000
    })
);
sql(
    insert('agents', { id: 'rev1' }) +
        insert('inbox_messages', { id: 'all1', from_agent: 'planner', to_inbox: 'all', title: 'freeze?', payload: 'freeze at noon' })
);
ok(await b.until(asked('freeze')), 'mail to all stands on Now');
ok(await b.until(`document.title === '(1) agenthub'`), 'what another has claimed does not wait for the person', await title());
await b.click(`${shown}[0].querySelector('.answer > button:last-of-type')`);
ok(await b.until(`document.title === 'agenthub'`), 'marked as read it waits no more');
sql(`UPDATE inbox_messages SET status = 'unread' WHERE id = 'all1'; ` + insert('messages', { thread_id: 'mark', from_id: 'a', content: 'x' }));
ok(
    (await b.until(`import('./store.js').then(({ state: s }) => s.threads.has('mark'))`)) && (await title()) === 'agenthub',
    'however its row stands for others',
    await title()
);

// A permission prompt, a failure, a question in a thread.
sql(insert('task_stream', { task_id: 'perm', agent_id: 'asker', stream_type: 'status', status: 'waiting', text: 'asks for permission: Bash' }));
ok(
    await b.until(`document.querySelector('.needs').innerText.includes('asks for permission: Bash') && document.title === '(1) agenthub'`),
    'an agent that waits for leave needs the person',
    await title()
);
sql(insert('task_stream', { task_id: 'perm', agent_id: 'asker', stream_type: 'tool_result', tool_name: 'Bash' }));
ok(await b.until(`document.title === 'agenthub'`), 'until it goes on');
sql(insert('task_stream', { task_id: 'bad', agent_id: 'broken', stream_type: 'status', status: 'failed', directive: 'break it' }));
ok((await b.until(`document.title === '(1) agenthub'`)) && (await icon()), 'one that failed needs the person', await title());
await b.click(`[...document.querySelectorAll('.needs .card button')].find(e => e.offsetParent)`);
ok((await b.until(`document.title === 'agenthub'`)) && !(await icon()), 'until dismissed');
sql(insert('messages', { thread_id: 'talk', from_id: 'asker', kind: 'question', to_id: 'human', to_type: 'human', content: 'which one?' }));
ok(
    (await b.until(asked('which one'))) && (await b.until(`document.title === '(1) agenthub'`)),
    'a question to the person in a thread stands on Now',
    await title()
);
await b.ev(`${shown}[0].querySelector('input').focus()`);
await b.type('the first');
await b.key('Enter');
ok(
    await until(
        () =>
            sql(`SELECT from_type || ':' || to_id || ':' || content FROM messages WHERE thread_id = 'talk' AND message_seq = 2`) ===
            'human:asker:the first'
    ),
    'and is answered in its thread'
);
ok(await b.until(`document.title === 'agenthub'`), 'then it waits no more');

// Writing: a long first line of signs outside the BMP, a slip in the name.
await b.view('inbox/human/new?to=newcomer');
await b.ev(`document.querySelector('.letterform textarea').focus()`);
await b.type('x'.repeat(79) + '😀 and more');
await b.click(`document.querySelector('.letterform .go')`);
ok(
    await until(() => sql(`SELECT title FROM inbox_messages WHERE to_inbox = 'newcomer'`) === 'x'.repeat(79) + '😀'),
    'a title ends between characters',
    await b.text('.letterform .wrong')
);
await b.view('inbox/human/new?to=plannr');
await b.ev(`document.querySelector('.letterform textarea').focus()`);
await b.type('typo');
await b.click(`document.querySelector('.letterform .go')`);
ok(
    (await b.until(`/no agent plannr/.test(document.querySelector('.letterform .wrong').textContent)`)) &&
        !sql(`SELECT 1 FROM inbox_messages WHERE to_inbox = 'plannr'`),
    'a name nobody has is asked about'
);
await b.click(`document.querySelector('.letterform .go')`);
ok(await until(() => sql(`SELECT count(*) FROM inbox_messages WHERE to_inbox = 'plannr'`) === '1'), 'and taken the second time');

// Many unread: the count is the file's, and one press reads them all.
sql(`UPDATE inbox_messages SET status = 'read' WHERE id = 'all1'`);
sql(
    transaction(
        Array.from({ length: 450 }, (_, i) =>
            insert('inbox_messages', { from_agent: 'spam', to_inbox: 'human', title: 'n' + i, payload: 'x', created_at: Date.now() - 1e6 + i })
        )
    )
);
await b.go(h.url);
await b.live();
await b.view('inbox');
ok(await b.until(`document.title.startsWith('(450)')`), '450 unread are 450', await title());
await b.click(`[...document.querySelectorAll('.inbox .bar .link')].find(e => e.textContent.startsWith('Mark'))`);
ok(
    await until(() => sql(`SELECT count(*) FROM inbox_messages WHERE to_inbox = 'human' AND status = 'unread' AND claimed_by = ''`) === '0', 30000),
    'all are read in the file'
);
ok(
    await b.until(`document.title === 'Inbox · agenthub' && !document.querySelector('[data-view=inbox] b').offsetParent`),
    'and on the page',
    await title()
);
sql(transaction(Array.from({ length: 60 }, (_, i) => insert('inbox_messages', { from_agent: 'x', to_inbox: 'box-' + i, payload: 'p' }))));
const chips = `document.querySelectorAll('.side .chips li:not([hidden])').length`;
await b.until(`/more mailboxes/.test(document.querySelector('.inbox .side').innerText)`);
await b.click(`[...document.querySelectorAll('.inbox .bar .link')].find(e => /more mailboxes/.test(e.textContent))`);
ok(await b.until(chips + ' > 62'), 'every mailbox can be reached', await b.ev(chips));

// Text that would hide.
sql(insert('messages', { thread_id: 'bidi', from_id: 'a', content: 'A\u061cB\u200bC\u2060D\u00adE\u{e0041}F' }));
await b.view('threads/bidi');
ok(
    await b.until(`document.querySelector('.msg .text')?.textContent === 'A⟨061c⟩B⟨200b⟩C⟨2060⟩D⟨00ad⟩E⟨e0041⟩F'`),
    'what hides or turns text is made visible',
    await b.text('.msg .text')
);
await end(h, b);
