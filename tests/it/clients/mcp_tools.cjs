// Calls every tool of `agenthub mcp` with the official TypeScript client. Arguments: the program, the database, the directory
// with node_modules. Failures are assertions; prints the server's name at the end.
//
// The client validates every structured result against the tool's output schema.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { createRequire } = require('node:module');
const { join } = require('node:path');

const [program, file, modules] = process.argv.slice(2);
const need = createRequire(modules + '/');
const { Client } = need('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = need('@modelcontextprotocol/sdk/client/stdio.js');

/** Runs an agenthub command as the agent `name`; returns its output, parsed if it is JSON. */
function peer(name, ...args) {
  const out = execFileSync(program, ['--db', file, ...args], { env: { ...process.env, AGENTHUB_AGENT: name }, encoding: 'utf8', timeout: 20_000 });
  return args.includes('--json') ? JSON.parse(out) : out;
}

async function main() {
  const client = new Client({ name: 'test', version: '1' });
  const env = { ...process.env, AGENTHUB_AGENT: 'coder', AGENTHUB_DB: file };
  await client.connect(new StdioClientTransport({ command: program, args: ['mcp'], env }));
  const result = (name, args) => client.callTool({ name, arguments: args });
  const call = async (name, args) => {
    const r = await result(name, args);
    assert.ok(!r.isError, JSON.stringify(r));
    return r.structuredContent;
  };
  const errorOf = async (name, args) => {
    const r = await result(name, args);
    assert.ok(r.isError, JSON.stringify(r));
    return r.content[0].text;
  };

  // Listing the tools also gives the client their output schemas.
  const { tools } = await client.listTools();
  assert.equal(tools.length, 9);
  assert.ok(tools.every(tool => tool.outputSchema.type === 'object'));
  assert.equal(client.getServerVersion().name, 'agenthub');
  assert.match(client.getInstructions(), /You are "coder"/);

  peer('tester', 'inbox');
  assert.match(await errorOf('send_message', { to: 'testr', text: 'x' }), /did you mean tester/);
  assert.match(await errorOf('ask_human', {}), /question/);
  await assert.rejects(result('no_such_tool', {}), /tool not found/);

  const sent = await call('send_message', { to: 'tester', text: 'please test', priority: 'urgent' });
  const waiting = call('check_inbox', { wait_seconds: 20, from: 'tester' });
  peer('tester', 'reply', sent.ids[0], 'it works', '--json');
  const [mail] = (await waiting).mail;
  assert.deepEqual([mail.from, mail.text, mail.kind], ['tester', '| it works', 'response']);
  assert.deepEqual((await call('ack_message', { ids: [mail.id] })).acked, [mail.id]);
  peer('tester', 'send', 'coder', 'one more');
  const [more] = (await call('check_inbox', {})).mail;
  assert.deepEqual((await call('reply', { id: more.id, text: 'got it' })).to, ['tester']);

  await call('send_message', { thread_id: 'zoo', text: 'a giraffe', to: 'tester' });
  assert.deepEqual((await call('read_thread', { thread_id: 'zoo' })).messages.map(m => m.text), ['| a giraffe']);
  assert.equal((await call('search', { query: 'giraffe' })).hits[0].place, 'zoo');
  assert.equal((await call('post_status', { status: 'failed', text: 'no', task_id: 't1' })).task_id, 't1');
  assert.equal((await call('list_agents', {})).agents.find(a => a.name === 'coder').status, 'error');

  const { id } = await call('ask_human', { question: 'Blue?', wait_seconds: 0 });
  const answer = call('ask_human', { id, wait_seconds: 20 });
  const terminal = join(__dirname, '..', 'support', 'in_terminal.py');
  execFileSync(process.env.AGENTHUB_TEST_PYTHON || 'python3', [terminal, program, '--db', file, 'reply', id, 'green'], { timeout: 20_000 });
  assert.equal((await answer).answer, 'green');

  console.log(client.getServerVersion().name);
  await client.close();
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
