// What needs the person, and that a reply goes to the request it was meant for: cards that move under
// the pointer, replies sent twice, mail to everyone, mistyped names, many unread messages.

import { startBrowser, startHub, sql, insert, transaction, check, finish, eventually } from './support.mjs';

const hub = await startHub();
const browser = await startBrowser();

function writeRequest(id, from_agent, fields = {}) {
    const text = id + '?';
    const row = { id, from_agent, to_inbox: 'human', title: text, payload: text, message_type: 'approval_request' };
    sql(insert('inbox_messages', { ...row, ...fields }));
}
const CARDS = `[...document.querySelectorAll('.request')].filter(e => e.offsetParent)`;
const YES_BUTTON = `[...document.querySelectorAll('.request button')].find(e => e.offsetParent && e.textContent === 'Yes')`;
const hasCard = text => `${CARDS}.some(e => e.innerText.includes('${text}?'))`;
const title = () => browser.evaluate('document.title');
const titleBecomes = text => browser.eventually(`document.title === '${text}'`);
const hasAlertIcon = () => browser.evaluate(`document.querySelector('[rel=icon]').href.startsWith('data:')`);
/** Returns the person's replies as recipient:text. */
const replies = () =>
    sql(`SELECT coalesce(group_concat(to_inbox || ':' || payload), '') FROM inbox_messages WHERE from_agent = 'human'`);
async function clickAt(position) {
    for (const type of ['mousePressed', 'mouseReleased']) await browser.mouse(type, position);
}
async function removeRequests() {
    sql(`UPDATE inbox_messages SET status = 'read'`);
    await browser.mouse('mouseMoved', [1, 1]);
    await browser.evaluate('document.activeElement.blur()');
    check(await browser.eventually(`!${CARDS}.length`), 'nothing is pending');
}

await browser.open(hub.origin + '/#code=%zz');
check(await browser.eventually(`document.querySelector('.lock')`), 'an invalid code shows the lock screen');
await browser.open(hub.link());
check(await browser.isLive(), 'the page is live');

// ---- agents that no event mentions ----

sql(insert('agents', { id: 'newcomer', workspace: '/x/y' }));
check(
    await browser.eventually(`document.querySelector('.board').innerText.includes('newcomer')`),
    'an agent that has written nothing appears'
);
sql(`UPDATE agents SET label = 'New Name', status = 'running' WHERE id = 'newcomer'`);
check(
    await browser.eventually(`document.querySelector('.card')?.innerText.includes('New Name')`),
    'changes of its label and status are shown'
);

// ---- a request that is only a title ----

sql(insert('inbox_messages', { from_agent: 'a0', to_inbox: 'human', title: 'only a title?', message_type: 'question' }));
check(await browser.eventually(hasCard('only a title')), 'a request without a text is shown');
await removeRequests();

// ---- the pointer rests on a card ----

writeRequest('cache', 'a1');
await browser.eventually(YES_BUTTON + ' && 1');
check(
    await eventually(async () => browser.evaluate(`!${CARDS}[0].parentNode.hasAttribute('data-new')`)),
    'after a moment a new card accepts clicks'
);
const position = await browser.centerOf(YES_BUTTON);
await browser.mouse('mouseMoved', position);
writeRequest('production', 'evil', { priority: 'urgent' });
check(await browser.eventually(hasCard('production')), 'a second request appears while the pointer is on the first');
check(
    await browser.evaluate(`document.querySelector('.request').innerText.includes('cache?')`),
    'the second request is below the first'
);
await clickAt(position);
check(await eventually(() => replies() === 'a1:yes'), 'the click replies to the request under the pointer', replies());
check(
    await browser.eventually(`!document.querySelector('.request').contains(${YES_BUTTON})`),
    'the card of the first request has no buttons after the reply'
);
await clickAt(position);
await browser.rendered();
writeRequest('later', 'a3');
check(await browser.eventually(hasCard('later')), 'a third request appears although the pointer is still there');
check(replies() === 'a1:yes', 'a second click at the same place sends nothing', replies());
check(
    (await titleBecomes('(2) agenthub')) && (await hasAlertIcon()),
    'the title and the icon show that two are pending',
    await title()
);

// ---- a card that was just added ----

await removeRequests();
writeRequest('fresh', 'a4');
const BUTTON_AT_POSITION = `document.elementFromPoint(...(r => [r.x + r.width / 2, r.y + r.height / 2])((${YES_BUTTON}).getBoundingClientRect()))?.closest('button')`;
check(
    // Checked in the first frame that has the card: half a second later it accepts clicks.
    await browser.evaluate(
        `new Promise(resolve => { const look = () => (${YES_BUTTON} ? resolve(!document.querySelector('.request').contains(${BUTTON_AT_POSITION})) : requestAnimationFrame(look)); look(); })`
    ),
    'a new card ignores clicks'
);
await browser.click(YES_BUTTON);
check(await eventually(() => replies() === 'a1:yes,a4:yes'), 'later it accepts them', replies());
await browser.evaluate(
    `import('./sync/mail.js').then(async sync => { const mail = { id: 'twice', from_agent: 'a5', message_id: 'm', status: 'unread', payload: '' }; await Promise.allSettled([sync.reply(mail, 'yes'), sync.reply(mail, 'yes')]); })`
);
check(sql(`SELECT count(*) FROM inbox_messages WHERE to_inbox = 'a5'`) === '1', 'the same reply sent twice is one row');

// ---- keys ----

await removeRequests();
for (const i of [1, 2, 3]) {
    writeRequest('k' + i, 'ag' + i, { message_type: 'request', created_at: Date.now() - 10000 + i });
}
await browser.eventually(`${CARDS}.length === 3`);
await browser.evaluate(`${CARDS}[0].querySelector('a').focus()`);
await browser.press('a');
const readRequests = `SELECT coalesce(group_concat(id), '') FROM inbox_messages WHERE status = 'read' AND id LIKE 'k_'`;
check(await eventually(() => sql(readRequests) === 'k3'), 'a marks the focused request as read');
await browser.press('r');
await browser.type('by hand');
await browser.press('Enter');
check(await eventually(() => /ag\d:by hand/.test(replies())), 'r and Enter reply by keyboard', replies());

// ---- yes or no ----

await removeRequests();
for (const [id, question] of Object.entries({
    q1: 'May I deploy it? (yes or no)',
    q2: 'Which of the two?',
    q3: 'Delete the author table?',
    q4: 'Red or blue?'
})) {
    writeRequest(id, id, { title: question, payload: question, message_type: 'request' });
}
await browser.eventually(`${CARDS}.length === 4`);
const quickReplies = await browser.evaluate(
    `${CARDS}.map(e => e.querySelector('.snippet').textContent.slice(0, 3) + [...e.querySelectorAll('button')].some(x => x.offsetParent && x.textContent === 'Yes')).sort().join()`
);
check(
    quickReplies === 'Deltrue,Maytrue,Redfalse,Whifalse',
    'Yes and No are offered for yes-or-no questions only',
    quickReplies
);

// ---- claims, and mail to everyone ----

await removeRequests();
const claim = { claimed_by: 'bob', claim_expires_at: Date.now() + 600000 };
sql(insert('inbox_messages', { from_agent: 'a', to_inbox: 'human', title: 'claimed', payload: 'x', ...claim }));
const broadcast = {
    id: 'all1',
    from_agent: 'planner',
    to_inbox: 'all',
    title: 'freeze?',
    payload: 'freeze at noon',
    message_type: 'request'
};
sql(insert('agents', { id: 'rev1' }) + insert('inbox_messages', broadcast));
check(await browser.eventually(hasCard('freeze')), 'mail to everyone is shown on Now');
check(await titleBecomes('(1) agenthub'), 'mail that an agent has claimed is not pending', await title());
await browser.click(`${CARDS}[0].querySelector('.reply-form > button:last-of-type')`);
check(await titleBecomes('agenthub'), 'mail to everyone that is marked as read is no longer pending');
sql(
    `UPDATE inbox_messages SET status = 'unread' WHERE id = 'all1'; ` +
        insert('messages', { thread_id: 'mark', from_id: 'a', content: 'x' })
);
check(
    (await browser.eventually(`import('./store.js').then(({ state: s }) => s.threads.has('mark'))`)) &&
        (await title()) === 'agenthub',
    'its status for other readers does not change that',
    await title()
);

// ---- agents and threads that need the person ----

const permissionRequest = 'permission: Bash';
const waitingStatus = { task_id: 'perm', agent_id: 'asker', stream_type: 'status', status: 'waiting' };
sql(insert('task_stream', { ...waitingStatus, text: 'asks for ' + permissionRequest }));
check(
    await browser.eventually(
        `document.querySelector('.attention').innerText.includes('${permissionRequest}') && document.title === '(1) agenthub'`
    ),
    'an agent that waits for permission needs attention',
    await title()
);
sql(insert('task_stream', { task_id: 'perm', agent_id: 'asker', stream_type: 'tool_result', tool_name: 'Bash' }));
check(await titleBecomes('agenthub'), 'an agent that continues no longer needs attention');
const failedStatus = { task_id: 'bad', agent_id: 'broken', stream_type: 'status', status: 'failed' };
sql(insert('task_stream', { ...failedStatus, directive: 'break it' }));
check(
    (await titleBecomes('(1) agenthub')) && (await hasAlertIcon()),
    'an agent that failed needs attention',
    await title()
);
await browser.click(`[...document.querySelectorAll('.attention .card button')].find(e => e.offsetParent)`);
check((await titleBecomes('agenthub')) && !(await hasAlertIcon()), 'a failure can be dismissed');
const question = { thread_id: 'talk', from_id: 'asker', kind: 'question', to_id: 'human', to_type: 'human' };
sql(insert('messages', { ...question, content: 'which one?' }));
check(
    (await browser.eventually(hasCard('which one'))) && (await titleBecomes('(1) agenthub')),
    'a question to the person in a thread is shown on Now',
    await title()
);
// The card of a request that is no longer pending may still be above it.
await browser.evaluate(`${CARDS}.find(e => e.innerText.includes('which one?')).querySelector('input').focus()`);
await browser.type('the first');
await browser.press('Enter');
const replyInThread = `SELECT from_type || ':' || to_id || ':' || content FROM messages WHERE thread_id = 'talk' AND message_seq = 2`;
check(await eventually(() => sql(replyInThread) === 'human:asker:the first'), 'the reply is written to its thread');
check(await titleBecomes('agenthub'), 'a question with a reply is no longer pending');

// ---- new mail: a long first line with characters outside the BMP, a mistyped name ----

async function writeMail(recipient, text) {
    await browser.goTo('inbox/human/new?to=' + recipient);
    await browser.evaluate(`document.querySelector('.new-mail textarea').focus()`);
    await browser.type(text);
    await browser.click(`document.querySelector('.new-mail .primary')`);
}
await writeMail('newcomer', 'x'.repeat(79) + '😀 and more');
const newcomerTitle = `SELECT title FROM inbox_messages WHERE to_inbox = 'newcomer'`;
check(
    await eventually(() => sql(newcomerTitle) === 'x'.repeat(79) + '😀'),
    'a title is cut between characters',
    await browser.text('.new-mail .form-error')
);
await writeMail('plannr', 'typo');
check(
    (await browser.eventually(
        `/no agent named “plannr”/.test(document.querySelector('.new-mail .form-error').textContent)`
    )) && !sql(`SELECT 1 FROM inbox_messages WHERE to_inbox = 'plannr'`),
    'an unknown recipient has to be confirmed'
);
await browser.click(`document.querySelector('.new-mail .primary')`);
check(
    await eventually(() => sql(`SELECT count(*) FROM inbox_messages WHERE to_inbox = 'plannr'`) === '1'),
    'sending again confirms it'
);

// ---- many unread messages, many mailboxes ----

sql(`UPDATE inbox_messages SET status = 'read' WHERE id = 'all1'`);
const unreadMail = i => ({
    from_agent: 'spam',
    to_inbox: 'human',
    title: 'n' + i,
    payload: 'x',
    created_at: Date.now() - 1e6 + i
});
sql(transaction(Array.from({ length: 450 }, (_, i) => insert('inbox_messages', unreadMail(i)))));
await browser.open(hub.link());
await browser.isLive();
await browser.goTo('inbox');
check(
    await browser.eventually(`document.title.startsWith('(450)')`),
    'all 450 unread messages are counted',
    await title()
);
const linkButton = pattern =>
    `[...document.querySelectorAll('.inbox .toolbar .link-button')].find(e => ${pattern}.test(e.textContent))`;
await browser.click(linkButton('/^Mark/'));
const unreadCount = `SELECT count(*) FROM inbox_messages WHERE to_inbox = 'human' AND status = 'unread' AND claimed_by = ''`;
check(await eventually(() => sql(unreadCount) === '0', 30000), 'one click marks all as read in the database');
check(
    await browser.eventually(
        `document.title === 'Inbox · agenthub' && !document.querySelector('[data-view=inbox] b').offsetParent`
    ),
    'the page shows no unread message',
    await title()
);
const mailTo = name => insert('inbox_messages', { from_agent: 'x', to_inbox: name, payload: 'p' });
sql(transaction(Array.from({ length: 60 }, (_, i) => mailTo('box-' + i))));
const chipCount = `document.querySelectorAll('.side .chips li:not([hidden])').length`;
await browser.eventually(`/more mailboxes/.test(document.querySelector('.inbox .side').innerText)`);
await browser.click(linkButton('/more mailboxes/'));
check(await browser.eventually(chipCount + ' > 62'), 'every mailbox can be reached', await browser.evaluate(chipCount));

// ---- invisible characters ----

sql(insert('messages', { thread_id: 'bidi', from_id: 'a', content: 'A\u061cB\u200bC\u2060D\u00adE\u{e0041}F' }));
await browser.goTo('threads/bidi');
check(
    await browser.eventually(
        `document.querySelector('.message .text')?.textContent === 'A⟨061c⟩B⟨200b⟩C⟨2060⟩D⟨00ad⟩E⟨e0041⟩F'`
    ),
    'characters that hide or reorder text are made visible',
    await browser.text('.message .text')
);
await finish(hub, browser);
