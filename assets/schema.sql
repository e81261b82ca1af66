-- agenthub: the database that agents share. Schema version 3.
--
-- Any program that can write SQLite can be an agent, without installing or registering anything. This statement is a
-- complete agent:
--
--   INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'tests are green');
--
-- From a shell:
--
--   sqlite3 -cmd '.timeout 5000' "$(agenthub path)" \
--     "INSERT INTO messages(thread_id, from_id, content) VALUES('build', 'planner', 'tests are green')"
--
-- A running hub shows the row immediately; otherwise the hub shows it when it starts. The database is the only store.
--
-- Tables
--   messages         messages in a thread, for all of its subscribers
--   inbox_messages   messages to one inbox, unread until the recipient reads them ('human' is the user, 'all' is
--                    the user and every agent that exists when the message is written)
--   telemetry        what a process has used so far: turns, tokens, cost. Running totals, not differences
--   task_stream      the steps of an agent's task: text, tool calls, results
--   threads, agents  created automatically; UPDATE a row to set a title, a label or a status. An agent that only reads
--                    registers itself with INSERT INTO active(id) VALUES('its name')
--   receipts         which reader was offered, has seen and has acknowledged which inbox message
--   subscriptions, deliveries, changes, hub
--                    internal tables of the hub. Read them if you like; do not write to them
--
-- How to write
--   * Name the columns you know and omit the rest. Every column that is not marked "required" below has a default, and an
--     explicit NULL counts as omitted. Never supply the integer primary key (n, or id in telemetry and task_stream) or
--     message_seq: the database assigns them.
--   * Write one autocommit INSERT, or start the transaction with BEGIN IMMEDIATE. A transaction that starts with a plain
--     BEGIN and reads first can no longer write once another agent has written in between.
--   * Set a busy timeout of 5000 ms. Many libraries have one by default; the sqlite3 shell's default is 0 ms.
--   * Use PRAGMA synchronous=FULL if a row must survive a power failure. Without it, a row survives every other crash.
--   * Never keep a transaction open while you wait for a model, a person or the network: it blocks all other writers.
--   * To make a write safe to repeat, choose the id yourself and use INSERT OR IGNORE: a repeated INSERT changes nothing.
--   * Triggers assign message_seq after the insert, so RETURNING does not return it. Read it back by id:
--     SELECT message_seq FROM messages WHERE id = ?.
--   * Open, copy or lock this file only through SQLite. To copy it, use `agenthub backup`; to replace its content with a
--     copy while it is in use, `agenthub restore`.
--
-- Guarantees, whatever library, pragma or conflict clause other writers use
--   * message_seq is 1, 2, 3 … in each thread and changes.seq is 1, 2, 3 … in the database: commit order, no gaps, no
--     number used twice. A message to an unknown thread creates the thread; an agent's first row creates the agent.
--   * The content of a row never changes. Only columns marked "state" can be updated, and each such UPDATE adds an entry
--     to changes (except for subscriptions). There is no DELETE: messages.deleted_at and inbox_messages.expires_at hide a
--     row, and `agenthub prune` removes old rows.
--   * INSERT with an existing id fails. OR IGNORE and ON CONFLICT work as usual and use up no number. OR REPLACE fails.
--   * Invalid values fail with an error that names the table and the column, even under OR IGNORE: an empty required
--     column, a text over 1 MiB (1,048,576 bytes; 512 bytes in proof), a blob in a text column, a text or a fraction in
--     an integer column, an integer over a quadrillion (10^15; times in microseconds or nanoseconds exceed it). A number
--     in quotes is a number.
--   * The values listed for kind, status and similar columns are the ones the hub knows. Others are stored unchanged.
--
-- All times are Unix time in milliseconds, as integers. All text is UTF-8.
-- Writers need SQLite 3.26 (December 2018) or later, with or without JSON and full-text search.

-- ---------------------------------------------------------------------------------------------------------------------
-- Tables. They have no NOT NULL and no CHECK, because OR IGNORE would drop such a row silently. Triggers check instead
-- and raise an error. The long DEFAULT is Unix time in milliseconds, in the form that SQLite before 3.38 supports.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE threads (
  n               INTEGER PRIMARY KEY,
  id              TEXT UNIQUE,                -- required: any name, such as 'build'
  title           TEXT DEFAULT '',            -- state
  created_at      INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
  created_by_type TEXT DEFAULT 'agent',       -- as messages.from_type
  created_by_id   TEXT DEFAULT '',
  status          TEXT DEFAULT 'active',      -- state: active, paused, resolved, archived
  context_json    TEXT,                       -- state: {"target_agent": …, "workspace": …}
  last_seq        INTEGER DEFAULT 0,          -- the message_seq of the newest message; the database maintains it
  updated_at      INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
                                              -- when the newest message or change of state was written; the
                                              -- database maintains it
);

CREATE TABLE messages (
  n               INTEGER PRIMARY KEY,
  thread_id       TEXT,                       -- required: threads.id; an unknown one creates the thread
  from_id         TEXT,                       -- required: the sender: an agent's name, or 'human'
  id              TEXT UNIQUE DEFAULT (lower(hex(randomblob(16)))),
  message_seq     INTEGER,                    -- 1, 2, 3 … in its thread; the database assigns it
  created_at      INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
  from_type       TEXT DEFAULT 'agent',       -- human, agent, system, ailang_instance
  to_type         TEXT,                       -- as from_type, or broadcast
  to_id           TEXT,
  kind            TEXT DEFAULT 'status',      -- directive, question, proposal, status, result
  subject         TEXT,
  content         TEXT DEFAULT '',
  metadata_json   TEXT,
  reply_to        TEXT,                       -- the id of the message that this one answers
  delivery_state  TEXT DEFAULT 'pending',     -- state
  business_state  TEXT DEFAULT 'open',        -- state
  deleted_at      INTEGER,                    -- state: if set, the content is hidden; the number remains
  proof           TEXT                        -- written by the hub or a command when the person writes this row;
                                              -- readers verify it. Omit it
);
-- Not UNIQUE, because OR IGNORE would drop the new message and OR REPLACE would delete the existing one. Rows without a
-- number are not indexed.
CREATE INDEX messages_thread ON messages(thread_id, message_seq) WHERE message_seq IS NOT NULL;

CREATE TABLE inbox_messages (
  n                INTEGER PRIMARY KEY,
  from_agent       TEXT,                      -- required: the name of the sender
  to_inbox         TEXT,                      -- required: the name of an agent, 'human' or 'all'
  id               TEXT UNIQUE DEFAULT (lower(hex(randomblob(16)))),
  message_id       TEXT UNIQUE DEFAULT ('msg_' || lower(hex(randomblob(16)))),
  correlation_id   TEXT,                      -- the same in a question and its answers
  message_type     TEXT DEFAULT 'notification', -- request, response, completion, handoff, info, audit,
                                              -- approval_request, feedback
  title            TEXT DEFAULT '',
  payload          TEXT,                      -- the message: free text or JSON
  priority         TEXT DEFAULT 'info',       -- info, action, urgent
  status           TEXT DEFAULT 'unread',     -- state: unread, read, archived, deleted
  created_at       INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
  read_at          INTEGER,                   -- state
  expires_at       INTEGER,                   -- state: lists omit the message after this time
  claimed_by       TEXT,                      -- state: the agent that works on the message
  claim_expires_at INTEGER,                   -- state: other agents can claim the message after this time
  proof            TEXT                       -- written by the hub or a command when the person writes this row;
                                              -- readers verify it. Omit it
);
CREATE INDEX inbox_messages_list ON inbox_messages(to_inbox, status);
CREATE INDEX inbox_messages_correlation ON inbox_messages(correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX inbox_messages_claims ON inbox_messages(claim_expires_at) WHERE claim_expires_at IS NOT NULL;

CREATE TABLE telemetry (
  id            INTEGER PRIMARY KEY,
  instance_id   TEXT,                         -- required: one run of one agent; its newest row counts
  pid           INTEGER,
  turns         INTEGER,
  tokens_in     INTEGER,                      -- all tokens sent to the model, including tokens_cached
  tokens_out    INTEGER,
  cost          REAL,                         -- US dollars
  status        TEXT DEFAULT 'running',       -- running, completed, error
  duration_sec  INTEGER,
  agent_id      TEXT,                         -- agents.id
  model         TEXT,
  tokens_cached INTEGER,
  cost_source   TEXT,                         -- reported (by the vendor), priced (from a price list), unknown
  created_at    INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
);
CREATE INDEX telemetry_instance ON telemetry(instance_id);

CREATE TABLE task_stream (
  id             INTEGER PRIMARY KEY,
  task_id        TEXT,                        -- required: one piece of work
  stream_type    TEXT,                        -- required: turn_start, text, tool_use, tool_result, turn_end,
                                              -- error, status
  thread_id      TEXT,                        -- threads.id
  turn_num       INTEGER,
  text           TEXT,
  tool_name      TEXT,
  tool_input     TEXT,
  tool_output    TEXT,
  error_msg      TEXT,
  status         TEXT,                        -- running, completed, failed
  tokens_in      INTEGER,                     -- of this step. telemetry counts the same tokens: do not add them up
  tokens_out     INTEGER,
  cost           REAL,
  duration_sec   INTEGER,
  workspace      TEXT,                        -- the working directory
  directive      TEXT,                        -- the instruction to the agent, shortened
  directive_full TEXT,
  agent_id       TEXT,                        -- agents.id
  source_type    TEXT,                        -- coordinator, eval, github, direct
  call_id        TEXT,                        -- the same in a tool_use and its tool_result
  parent_call_id TEXT,                        -- the call that made this one
  model          TEXT,
  created_at     INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
);
CREATE INDEX task_stream_task ON task_stream(task_id);
-- For the last status of each task.
CREATE INDEX task_stream_status ON task_stream(task_id, id, status, created_at)
  WHERE stream_type = 'status' AND status <> '';

CREATE TABLE agents (
  n              INTEGER PRIMARY KEY,
  id             TEXT UNIQUE,                 -- required: the agent's name
  label          TEXT,                        -- state: the display name
  status         TEXT DEFAULT 'idle',         -- state: idle, running, error, gone (its process has ended)
  workspace      TEXT,                        -- state: the working directory
  pid            INTEGER,                     -- state
  created_at     INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
  last_active_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
                                              -- when it last wrote or got mail, to the second; not in changes
  broadcasts_after INTEGER                    -- mail to 'all' up to this inbox_messages.n is older than the agent or
                                              -- was offered to it; the database and the hub maintain it
);
CREATE INDEX agents_active ON agents(last_active_at);

CREATE TABLE subscriptions (
  n             INTEGER PRIMARY KEY,
  instance_id   TEXT,                         -- required: the client
  thread_id     TEXT,                         -- required: threads.id
  from_seq      INTEGER DEFAULT 0,            -- state: the message_seq it starts after
  subscribed_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)), -- state
  last_ack_seq  INTEGER DEFAULT 0,            -- state: all messages up to this message_seq are processed
  acked_at      INTEGER,                      -- state: when the client last acknowledged
  UNIQUE(instance_id, thread_id)
);

CREATE TABLE receipts (
  n          INTEGER PRIMARY KEY,
  message_id TEXT,                            -- required: inbox_messages.message_id
  reader     TEXT,                            -- required: the agent
  state      TEXT,                            -- required: offered (shown to the model), seen, acked; for mail to 'all'
                                              -- also archived; one row each
  via        TEXT,                            -- how it was offered
  created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
  UNIQUE(message_id, reader, state)
);

-- Inbox messages that a hook prints for a model, until the reader has seen them. Only the hub and its commands write here.
CREATE TABLE deliveries (
  mail    INTEGER,                            -- inbox_messages.n
  reader  TEXT,                               -- the agent
  session TEXT,                               -- the agent's session that got it last
  state   TEXT,                               -- begun (about to be printed), printed
  at      INTEGER,                            -- when it was begun
  PRIMARY KEY(mail, reader)
) WITHOUT ROWID;
CREATE INDEX deliveries_state ON deliveries(reader, state, session);

-- Sessions of agent tools. Only the hub and its commands write here.
CREATE TABLE sessions (
  id               TEXT PRIMARY KEY,          -- the tool and its id of the session; also the task's id of a recorded session
  agent            TEXT,                      -- agents.id
  pid              INTEGER,                   -- the tool's process, if it runs this session only
  pid_started      TEXT,                      -- the start of that process: another process may get its number
  terminal         TEXT,                      -- the terminal that the tool runs in
  greeted_at       INTEGER,                   -- when the model was told its name
  ended_at         INTEGER,                   -- when the session ended, or its process was found to be gone
  transcript       TEXT,                      -- the path of the tool's own record of the session
  transcript_state TEXT,                      -- how far that record was read, and what it contained: JSON
  created_at       INTEGER,
  last_event_at    INTEGER,
  permission_mode  TEXT,                      -- the tool's name of the mode in which it asks before it runs commands, or does not
  prompted_at      INTEGER                    -- when the person sent the last prompt
) WITHOUT ROWID;
CREATE INDEX sessions_agent ON sessions(agent);
CREATE INDEX sessions_open ON sessions(pid) WHERE pid IS NOT NULL AND ended_at IS NULL;

-- Wakes: an idle session got a prompt because of mail. Only the hub and its commands write here.
CREATE TABLE wakes (
  n        INTEGER PRIMARY KEY,
  session  TEXT,                              -- sessions.id
  agent    TEXT,                              -- agents.id
  mail     INTEGER,                           -- the newest inbox_messages.n that it is for: no wake follows for this or older mail
  chain    INTEGER,                           -- the inbox_messages.n with which the chain of replies began
  state    TEXT,                              -- begun, given (to the tool), woken (the session has begun a turn), failed,
                                              -- cancelled (the agent got the mail without it)
  via      TEXT,                              -- how the tool gets the prompt
  reason   TEXT,                              -- why it failed or was cancelled
  asked_by TEXT,                              -- 'human' if the person asked for it
  at       INTEGER,                           -- when it was begun
  ended_at INTEGER                            -- when the session began the turn, or the wake failed or was cancelled
);
CREATE INDEX wakes_agent ON wakes(agent);
CREATE INDEX wakes_session ON wakes(session);
CREATE INDEX wakes_open ON wakes(at) WHERE ended_at IS NULL;

-- The change log: every insert and every change of state, in commit order. Only triggers write to it.
CREATE TABLE changes (
  seq INTEGER PRIMARY KEY,
  tbl TEXT,                                   -- threads, messages, inbox_messages, telemetry, task_stream, agents
  row INTEGER,                                -- the row's n (or id)
  op  TEXT,                                   -- insert, update
  tag INTEGER DEFAULT (random() & 4294967295) -- distinguishes entries with the same seq in a restored copy
);

CREATE TABLE hub (
  key   TEXT PRIMARY KEY,                     -- epoch: random id of this database. pruning: see _delete below
  value
) WITHOUT ROWID;
INSERT INTO hub VALUES('epoch', lower(hex(randomblob(16))));

-- ---------------------------------------------------------------------------------------------------------------------
-- Triggers enforce the rules for every writer. Each table except deliveries, sessions and wakes has four:
--
--   _exists  BEFORE INSERT  Runs when a row with this key exists. OR REPLACE would delete that row, and a trigger cannot
--                           see the conflict clause of the statement that fired it. But statements within a trigger
--                           inherit that clause. So the INSERT OR IGNORE in it has no effect by itself, under OR IGNORE
--                           or in an UPSERT. Under OR REPLACE it would replace the epoch, and hub_insert (at the end)
--                           raises an error. Under OR ABORT, FAIL and ROLLBACK it fails, as the outer INSERT would.
--   _insert  AFTER INSERT   Rejects invalid values, replaces NULL by the default, then applies the row's effects. This is
--                           one trigger because SQLite does not define the order of several. It runs after the INSERT
--                           because the effects of a BEFORE trigger remain when OR IGNORE drops the row. No statement
--                           here may rely on its own OR IGNORE or OR REPLACE: the writer's clause overrides it.
--   _update  BEFORE UPDATE  Rejects changes to immutable columns and invalid states, and adds a change log entry.
--   _delete  BEFORE DELETE  Rejects every DELETE except those of `agenthub prune`, which in one transaction inserts
--                           'pruning' into hub, deletes, and removes it again. The newest row always stays, because the
--                           next row would otherwise reuse its number.
--
-- x >= x'' is true only for blobs, because blobs sort after all texts. Texts and blobs sort after all numbers, so BETWEEN
-- also detects text in a number column. length(CAST(x AS BLOB)) is the length in bytes; length(x) stops at a NUL.
-- ---------------------------------------------------------------------------------------------------------------------

-- threads

CREATE TRIGGER threads_exists BEFORE INSERT ON threads
WHEN EXISTS (SELECT 1 FROM threads WHERE n = NEW.n)
  OR EXISTS (SELECT 1 FROM threads WHERE id = NEW.id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER threads_insert AFTER INSERT ON threads
BEGIN
  SELECT CASE
    WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM threads WHERE n <> NEW.n), 0)
      THEN RAISE(ABORT, 'threads.n: omit it; the database assigns it')
    WHEN typeof(NEW.id) <> 'text' OR length(CAST(NEW.id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'threads.id: required, text of at most 1 MiB')
    WHEN NEW.title >= x'' OR length(CAST(NEW.title AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.title: text of at most 1 MiB')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'threads.created_at: Unix time in milliseconds, an integer')
    WHEN NEW.created_by_type >= x'' OR length(CAST(NEW.created_by_type AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.created_by_type: text of at most 1 MiB')
    WHEN NEW.created_by_id >= x'' OR length(CAST(NEW.created_by_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.created_by_id: text of at most 1 MiB')
    WHEN NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.status: text of at most 1 MiB')
    WHEN NEW.context_json >= x'' OR length(CAST(NEW.context_json AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.context_json: text of at most 1 MiB')
    WHEN NEW.updated_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.updated_at) = 'real'
      THEN RAISE(ABORT, 'threads.updated_at: Unix time in milliseconds, an integer')
    WHEN NEW.last_seq <> 0
      THEN RAISE(ABORT, 'threads.last_seq: omit it; the database assigns it')
  END;
  UPDATE threads
     SET title = coalesce(title, ''),
         created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         created_by_type = coalesce(created_by_type, 'agent'),
         created_by_id = coalesce(created_by_id, ''),
         status = coalesce(status, 'active'),
         last_seq = coalesce(last_seq, 0),
         updated_at = coalesce(updated_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
   WHERE n = NEW.n
     AND (NEW.title IS NULL OR NEW.created_at IS NULL OR NEW.created_by_type IS NULL OR NEW.created_by_id IS NULL
         OR NEW.status IS NULL OR NEW.last_seq IS NULL OR NEW.updated_at IS NULL);
  INSERT INTO changes(tbl, row, op) VALUES('threads', NEW.n, 'insert');
END;

-- Runs for every UPDATE of a thread, including the update of last_seq for a new message. It has no OF clause, because
-- SET rowid = … would bypass it.
CREATE TRIGGER threads_count BEFORE UPDATE ON threads
BEGIN
  SELECT CASE
    WHEN NEW.n <> OLD.n
      THEN RAISE(ABORT, 'threads: only title, status and context_json can be updated')
    WHEN NEW.last_seq IS NULL OR NEW.last_seq <> OLD.last_seq AND (NEW.last_seq <> OLD.last_seq + 1
      OR NOT EXISTS (SELECT 1 FROM messages WHERE thread_id = NEW.id AND message_seq = NEW.last_seq))
      THEN RAISE(ABORT, 'messages.message_seq: omit it, or use the next number of the thread')
    WHEN NEW.updated_at IS NULL
      OR NEW.updated_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.updated_at) = 'real'
      THEN RAISE(ABORT, 'threads.updated_at: Unix time in milliseconds, an integer')
  END;
END;

CREATE TRIGGER threads_update BEFORE UPDATE
  OF id, created_at, created_by_type, created_by_id, title, status, context_json
  ON threads
BEGIN
  SELECT CASE
    WHEN NEW.id IS NOT OLD.id
      OR NEW.created_at IS NOT coalesce(OLD.created_at, NEW.created_at)
      OR NEW.created_by_type IS NOT coalesce(OLD.created_by_type, NEW.created_by_type)
      OR NEW.created_by_id IS NOT coalesce(OLD.created_by_id, NEW.created_by_id)
      THEN RAISE(ABORT, 'threads: only title, status and context_json can be updated')
    WHEN NEW.title IS NULL OR NEW.title >= x'' OR length(CAST(NEW.title AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.title: text of at most 1 MiB')
    WHEN NEW.status IS NULL OR NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.status: text of at most 1 MiB')
    WHEN NEW.context_json >= x'' OR length(CAST(NEW.context_json AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'threads.context_json: text of at most 1 MiB')
  END;
END;

CREATE TRIGGER threads_changed AFTER UPDATE OF title, status, context_json ON threads
WHEN NEW.title <> OLD.title
      OR NEW.status <> OLD.status
      OR NEW.context_json IS NOT OLD.context_json
BEGIN
  UPDATE threads SET updated_at = CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)
   WHERE n = NEW.n;
  INSERT INTO changes(tbl, row, op) VALUES('threads', NEW.n, 'update');
END;

CREATE TRIGGER threads_delete BEFORE DELETE ON threads
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM threads WHERE n > OLD.n)
  OR OLD.last_seq <> 0
BEGIN
  SELECT RAISE(ABORT, 'threads: only agenthub prune removes rows, and never the newest');
END;

-- messages

CREATE TRIGGER messages_exists BEFORE INSERT ON messages
WHEN EXISTS (SELECT 1 FROM messages WHERE n = NEW.n)
  OR EXISTS (SELECT 1 FROM messages WHERE id = NEW.id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER messages_insert AFTER INSERT ON messages
BEGIN
  SELECT CASE
    WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM messages WHERE n <> NEW.n), 0)
      THEN RAISE(ABORT, 'messages.n: omit it; the database assigns it')
    WHEN typeof(NEW.thread_id) <> 'text' OR length(CAST(NEW.thread_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'messages.thread_id: required, text of at most 1 MiB')
    WHEN typeof(NEW.from_id) <> 'text' OR length(CAST(NEW.from_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'messages.from_id: required, text of at most 1 MiB')
    WHEN NEW.id = '' OR NEW.id >= x'' OR length(CAST(NEW.id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.id: not empty, text of at most 1 MiB')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'messages.created_at: Unix time in milliseconds, an integer')
    WHEN NEW.from_type >= x'' OR length(CAST(NEW.from_type AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.from_type: text of at most 1 MiB')
    WHEN NEW.to_type >= x'' OR length(CAST(NEW.to_type AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.to_type: text of at most 1 MiB')
    WHEN NEW.to_id >= x'' OR length(CAST(NEW.to_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.to_id: text of at most 1 MiB')
    WHEN NEW.kind >= x'' OR length(CAST(NEW.kind AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.kind: text of at most 1 MiB')
    WHEN NEW.subject >= x'' OR length(CAST(NEW.subject AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.subject: text of at most 1 MiB')
    WHEN NEW.content >= x'' OR length(CAST(NEW.content AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.content: text of at most 1 MiB')
    WHEN NEW.metadata_json >= x'' OR length(CAST(NEW.metadata_json AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.metadata_json: text of at most 1 MiB')
    WHEN NEW.reply_to >= x'' OR length(CAST(NEW.reply_to AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.reply_to: text of at most 1 MiB')
    WHEN NEW.delivery_state >= x'' OR length(CAST(NEW.delivery_state AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.delivery_state: text of at most 1 MiB')
    WHEN NEW.business_state >= x'' OR length(CAST(NEW.business_state AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.business_state: text of at most 1 MiB')
    WHEN NEW.deleted_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.deleted_at) = 'real'
      THEN RAISE(ABORT, 'messages.deleted_at: Unix time in milliseconds, an integer')
    WHEN NEW.proof >= x'' OR length(CAST(NEW.proof AS BLOB)) > 512
      THEN RAISE(ABORT, 'messages.proof: text of at most 512 bytes')
  END;
  UPDATE messages
     SET id = coalesce(id, lower(hex(randomblob(16)))),
         created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         from_type = coalesce(from_type, 'agent'),
         kind = coalesce(kind, 'status'),
         content = coalesce(content, ''),
         delivery_state = coalesce(delivery_state, 'pending'),
         business_state = coalesce(business_state, 'open')
   WHERE n = NEW.n
     AND (NEW.id IS NULL OR NEW.created_at IS NULL OR NEW.from_type IS NULL OR NEW.kind IS NULL
         OR NEW.content IS NULL OR NEW.delivery_state IS NULL OR NEW.business_state IS NULL);
  INSERT INTO threads(id, created_by_type, created_by_id)
    SELECT NEW.thread_id, NEW.from_type, NEW.from_id WHERE NOT EXISTS (SELECT 1 FROM threads WHERE id = NEW.thread_id);
  INSERT INTO active(id) VALUES(CASE WHEN coalesce(NEW.from_type, 'agent') = 'agent' THEN NEW.from_id END);
  UPDATE messages SET message_seq = (SELECT last_seq + 1 FROM threads WHERE id = NEW.thread_id)
   WHERE n = NEW.n AND NEW.message_seq IS NULL;
  UPDATE threads SET last_seq = last_seq + 1,
      updated_at = CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)
   WHERE id = NEW.thread_id;
  INSERT INTO changes(tbl, row, op) VALUES('messages', NEW.n, 'insert');
END;

-- Separate from messages_update, so that assigning the number of a new message does not run that trigger.
CREATE TRIGGER messages_count BEFORE UPDATE ON messages
WHEN NEW.n <> OLD.n OR NEW.message_seq <> OLD.message_seq OR NEW.message_seq IS NULL AND OLD.message_seq IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'messages: only delivery_state, business_state and deleted_at can be updated');
END;

CREATE TRIGGER messages_update BEFORE UPDATE
  OF thread_id, from_id, id, created_at, from_type, to_type, to_id, kind, subject, content, metadata_json, reply_to,
     delivery_state, business_state, deleted_at, proof
  ON messages
BEGIN
  SELECT CASE
    WHEN NEW.thread_id IS NOT OLD.thread_id
      OR NEW.from_id IS NOT OLD.from_id
      OR NEW.id IS NOT coalesce(OLD.id, NEW.id)
      OR NEW.created_at IS NOT coalesce(OLD.created_at, NEW.created_at)
      OR NEW.from_type IS NOT coalesce(OLD.from_type, NEW.from_type)
      OR NEW.to_type IS NOT OLD.to_type
      OR NEW.to_id IS NOT OLD.to_id
      OR NEW.kind IS NOT coalesce(OLD.kind, NEW.kind)
      OR NEW.subject IS NOT OLD.subject
      OR NEW.content IS NOT coalesce(OLD.content, NEW.content)
      OR NEW.metadata_json IS NOT OLD.metadata_json
      OR NEW.reply_to IS NOT OLD.reply_to
      OR NEW.proof IS NOT OLD.proof
      THEN RAISE(ABORT, 'messages: only delivery_state, business_state and deleted_at can be updated')
    WHEN NEW.delivery_state IS NULL OR NEW.delivery_state >= x'' OR length(CAST(NEW.delivery_state AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.delivery_state: text of at most 1 MiB')
    WHEN NEW.business_state IS NULL OR NEW.business_state >= x'' OR length(CAST(NEW.business_state AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'messages.business_state: text of at most 1 MiB')
    WHEN NEW.deleted_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.deleted_at) = 'real'
      THEN RAISE(ABORT, 'messages.deleted_at: Unix time in milliseconds, an integer')
  END;
  INSERT INTO changes(tbl, row, op) SELECT 'messages', NEW.n, 'update'
    WHERE NEW.delivery_state <> OLD.delivery_state
      OR NEW.business_state <> OLD.business_state
      OR NEW.deleted_at IS NOT OLD.deleted_at;
END;

CREATE TRIGGER messages_delete BEFORE DELETE ON messages
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM messages WHERE n > OLD.n)
BEGIN
  SELECT RAISE(ABORT, 'messages: only agenthub prune removes rows, and never the newest');
END;

-- inbox_messages

CREATE TRIGGER inbox_messages_exists BEFORE INSERT ON inbox_messages
WHEN EXISTS (SELECT 1 FROM inbox_messages WHERE n = NEW.n)
  OR EXISTS (SELECT 1 FROM inbox_messages WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM inbox_messages WHERE message_id = NEW.message_id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER inbox_messages_insert AFTER INSERT ON inbox_messages
BEGIN
  SELECT CASE
    WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM inbox_messages WHERE n <> NEW.n), 0)
      THEN RAISE(ABORT, 'inbox_messages.n: omit it; the database assigns it')
    WHEN typeof(NEW.from_agent) <> 'text' OR length(CAST(NEW.from_agent AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'inbox_messages.from_agent: required, text of at most 1 MiB')
    WHEN typeof(NEW.to_inbox) <> 'text' OR length(CAST(NEW.to_inbox AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'inbox_messages.to_inbox: required, text of at most 1 MiB')
    WHEN NEW.id = '' OR NEW.id >= x'' OR length(CAST(NEW.id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.id: not empty, text of at most 1 MiB')
    WHEN NEW.message_id = '' OR NEW.message_id >= x'' OR length(CAST(NEW.message_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.message_id: not empty, text of at most 1 MiB')
    WHEN NEW.correlation_id >= x'' OR length(CAST(NEW.correlation_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.correlation_id: text of at most 1 MiB')
    WHEN NEW.message_type >= x'' OR length(CAST(NEW.message_type AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.message_type: text of at most 1 MiB')
    WHEN NEW.title >= x'' OR length(CAST(NEW.title AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.title: text of at most 1 MiB')
    WHEN NEW.payload >= x'' OR length(CAST(NEW.payload AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.payload: text of at most 1 MiB')
    WHEN NEW.priority >= x'' OR length(CAST(NEW.priority AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.priority: text of at most 1 MiB')
    WHEN NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.status: text of at most 1 MiB')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.created_at: Unix time in milliseconds, an integer')
    WHEN NEW.read_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.read_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.read_at: Unix time in milliseconds, an integer')
    WHEN NEW.expires_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.expires_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.expires_at: Unix time in milliseconds, an integer')
    WHEN NEW.claimed_by >= x'' OR length(CAST(NEW.claimed_by AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.claimed_by: text of at most 1 MiB')
    WHEN NEW.claim_expires_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.claim_expires_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.claim_expires_at: Unix time in milliseconds, an integer')
    WHEN NEW.proof >= x'' OR length(CAST(NEW.proof AS BLOB)) > 512
      THEN RAISE(ABORT, 'inbox_messages.proof: text of at most 512 bytes')
  END;
  UPDATE inbox_messages
     SET id = coalesce(id, lower(hex(randomblob(16)))),
         message_id = coalesce(message_id, 'msg_' || lower(hex(randomblob(16)))),
         message_type = coalesce(message_type, 'notification'),
         title = coalesce(title, ''),
         priority = coalesce(priority, 'info'),
         status = coalesce(status, 'unread'),
         created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
   WHERE n = NEW.n
     AND (NEW.id IS NULL OR NEW.message_id IS NULL OR NEW.message_type IS NULL OR NEW.title IS NULL
         OR NEW.priority IS NULL OR NEW.status IS NULL OR NEW.created_at IS NULL);
  INSERT INTO active(id) VALUES(NEW.from_agent);
  INSERT INTO changes(tbl, row, op) VALUES('inbox_messages', NEW.n, 'insert');
END;

CREATE TRIGGER inbox_messages_update BEFORE UPDATE ON inbox_messages
BEGIN
  SELECT CASE
    WHEN NEW.n <> OLD.n
      OR NEW.from_agent IS NOT OLD.from_agent
      OR NEW.to_inbox IS NOT OLD.to_inbox
      OR NEW.id IS NOT coalesce(OLD.id, NEW.id)
      OR NEW.message_id IS NOT coalesce(OLD.message_id, NEW.message_id)
      OR NEW.correlation_id IS NOT OLD.correlation_id
      OR NEW.message_type IS NOT coalesce(OLD.message_type, NEW.message_type)
      OR NEW.title IS NOT coalesce(OLD.title, NEW.title)
      OR NEW.payload IS NOT OLD.payload
      OR NEW.priority IS NOT coalesce(OLD.priority, NEW.priority)
      OR NEW.created_at IS NOT coalesce(OLD.created_at, NEW.created_at)
      OR NEW.proof IS NOT OLD.proof
      THEN RAISE(ABORT, 'inbox_messages: only status, read_at, expires_at, claimed_by and claim_expires_at can be updated')
    WHEN NEW.status IS NULL OR NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.status: text of at most 1 MiB')
    WHEN NEW.read_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.read_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.read_at: Unix time in milliseconds, an integer')
    WHEN NEW.expires_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.expires_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.expires_at: Unix time in milliseconds, an integer')
    WHEN NEW.claimed_by >= x'' OR length(CAST(NEW.claimed_by AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'inbox_messages.claimed_by: text of at most 1 MiB')
    WHEN NEW.claim_expires_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.claim_expires_at) = 'real'
      THEN RAISE(ABORT, 'inbox_messages.claim_expires_at: Unix time in milliseconds, an integer')
  END;
  INSERT INTO changes(tbl, row, op) SELECT 'inbox_messages', NEW.n, 'update'
    WHERE NEW.status <> OLD.status
      OR NEW.read_at IS NOT OLD.read_at
      OR NEW.expires_at IS NOT OLD.expires_at
      OR NEW.claimed_by IS NOT OLD.claimed_by
      OR NEW.claim_expires_at IS NOT OLD.claim_expires_at;
END;

CREATE TRIGGER inbox_messages_delete BEFORE DELETE ON inbox_messages
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM inbox_messages WHERE n > OLD.n)
BEGIN
  SELECT RAISE(ABORT, 'inbox_messages: only agenthub prune removes rows, and never the newest');
END;

-- telemetry

CREATE TRIGGER telemetry_exists BEFORE INSERT ON telemetry
WHEN EXISTS (SELECT 1 FROM telemetry WHERE id = NEW.id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER telemetry_insert AFTER INSERT ON telemetry
BEGIN
  SELECT CASE
    WHEN NEW.id <> 1 + coalesce((SELECT max(id) FROM telemetry WHERE id <> NEW.id), 0)
      THEN RAISE(ABORT, 'telemetry.id: omit it; the database assigns it')
    WHEN typeof(NEW.instance_id) <> 'text' OR length(CAST(NEW.instance_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'telemetry.instance_id: required, text of at most 1 MiB')
    WHEN NEW.pid NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.pid) = 'real'
      THEN RAISE(ABORT, 'telemetry.pid: an integer between -10^15 and 10^15')
    WHEN NEW.turns NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.turns) = 'real'
      THEN RAISE(ABORT, 'telemetry.turns: an integer between -10^15 and 10^15')
    WHEN NEW.tokens_in NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.tokens_in) = 'real'
      THEN RAISE(ABORT, 'telemetry.tokens_in: an integer between -10^15 and 10^15')
    WHEN NEW.tokens_out NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.tokens_out) = 'real'
      THEN RAISE(ABORT, 'telemetry.tokens_out: an integer between -10^15 and 10^15')
    WHEN NEW.cost NOT BETWEEN -1e15 AND 1e15
      THEN RAISE(ABORT, 'telemetry.cost: a number between -10^15 and 10^15')
    WHEN NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'telemetry.status: text of at most 1 MiB')
    WHEN NEW.duration_sec NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.duration_sec) = 'real'
      THEN RAISE(ABORT, 'telemetry.duration_sec: an integer between -10^15 and 10^15')
    WHEN NEW.agent_id >= x'' OR length(CAST(NEW.agent_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'telemetry.agent_id: text of at most 1 MiB')
    WHEN NEW.model >= x'' OR length(CAST(NEW.model AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'telemetry.model: text of at most 1 MiB')
    WHEN NEW.tokens_cached NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.tokens_cached) = 'real'
      THEN RAISE(ABORT, 'telemetry.tokens_cached: an integer between -10^15 and 10^15')
    WHEN NEW.cost_source >= x'' OR length(CAST(NEW.cost_source AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'telemetry.cost_source: text of at most 1 MiB')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'telemetry.created_at: Unix time in milliseconds, an integer')
  END;
  UPDATE telemetry
     SET status = coalesce(status, 'running'),
         created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
   WHERE id = NEW.id
     AND (NEW.status IS NULL OR NEW.created_at IS NULL);
  INSERT INTO active(id) VALUES(NEW.agent_id);
  INSERT INTO changes(tbl, row, op) VALUES('telemetry', NEW.id, 'insert');
END;

-- While status or created_at is NULL, telemetry_insert is still setting the defaults.
CREATE TRIGGER telemetry_update BEFORE UPDATE ON telemetry
WHEN OLD.status IS NOT NULL AND OLD.created_at IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'telemetry: rows cannot be updated');
END;

CREATE TRIGGER telemetry_delete BEFORE DELETE ON telemetry
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM telemetry WHERE id > OLD.id)
BEGIN
  SELECT RAISE(ABORT, 'telemetry: only agenthub prune removes rows, and never the newest');
END;

-- task_stream

CREATE TRIGGER task_stream_exists BEFORE INSERT ON task_stream
WHEN EXISTS (SELECT 1 FROM task_stream WHERE id = NEW.id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER task_stream_insert AFTER INSERT ON task_stream
BEGIN
  SELECT CASE
    WHEN NEW.id <> 1 + coalesce((SELECT max(id) FROM task_stream WHERE id <> NEW.id), 0)
      THEN RAISE(ABORT, 'task_stream.id: omit it; the database assigns it')
    WHEN typeof(NEW.task_id) <> 'text' OR length(CAST(NEW.task_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'task_stream.task_id: required, text of at most 1 MiB')
    WHEN typeof(NEW.stream_type) <> 'text' OR length(CAST(NEW.stream_type AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'task_stream.stream_type: required, text of at most 1 MiB')
    WHEN NEW.thread_id >= x'' OR length(CAST(NEW.thread_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.thread_id: text of at most 1 MiB')
    WHEN NEW.turn_num NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.turn_num) = 'real'
      THEN RAISE(ABORT, 'task_stream.turn_num: an integer between -10^15 and 10^15')
    WHEN NEW.text >= x'' OR length(CAST(NEW.text AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.text: text of at most 1 MiB')
    WHEN NEW.tool_name >= x'' OR length(CAST(NEW.tool_name AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.tool_name: text of at most 1 MiB')
    WHEN NEW.tool_input >= x'' OR length(CAST(NEW.tool_input AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.tool_input: text of at most 1 MiB')
    WHEN NEW.tool_output >= x'' OR length(CAST(NEW.tool_output AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.tool_output: text of at most 1 MiB')
    WHEN NEW.error_msg >= x'' OR length(CAST(NEW.error_msg AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.error_msg: text of at most 1 MiB')
    WHEN NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.status: text of at most 1 MiB')
    WHEN NEW.tokens_in NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.tokens_in) = 'real'
      THEN RAISE(ABORT, 'task_stream.tokens_in: an integer between -10^15 and 10^15')
    WHEN NEW.tokens_out NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.tokens_out) = 'real'
      THEN RAISE(ABORT, 'task_stream.tokens_out: an integer between -10^15 and 10^15')
    WHEN NEW.cost NOT BETWEEN -1e15 AND 1e15
      THEN RAISE(ABORT, 'task_stream.cost: a number between -10^15 and 10^15')
    WHEN NEW.duration_sec NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.duration_sec) = 'real'
      THEN RAISE(ABORT, 'task_stream.duration_sec: an integer between -10^15 and 10^15')
    WHEN NEW.workspace >= x'' OR length(CAST(NEW.workspace AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.workspace: text of at most 1 MiB')
    WHEN NEW.directive >= x'' OR length(CAST(NEW.directive AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.directive: text of at most 1 MiB')
    WHEN NEW.directive_full >= x'' OR length(CAST(NEW.directive_full AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.directive_full: text of at most 1 MiB')
    WHEN NEW.agent_id >= x'' OR length(CAST(NEW.agent_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.agent_id: text of at most 1 MiB')
    WHEN NEW.source_type >= x'' OR length(CAST(NEW.source_type AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.source_type: text of at most 1 MiB')
    WHEN NEW.call_id >= x'' OR length(CAST(NEW.call_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.call_id: text of at most 1 MiB')
    WHEN NEW.parent_call_id >= x'' OR length(CAST(NEW.parent_call_id AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.parent_call_id: text of at most 1 MiB')
    WHEN NEW.model >= x'' OR length(CAST(NEW.model AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'task_stream.model: text of at most 1 MiB')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'task_stream.created_at: Unix time in milliseconds, an integer')
  END;
  UPDATE task_stream
     SET created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
   WHERE id = NEW.id
     AND NEW.created_at IS NULL;
  INSERT INTO active(id) VALUES(NEW.agent_id);
  INSERT INTO changes(tbl, row, op) VALUES('task_stream', NEW.id, 'insert');
END;

-- While created_at is NULL, task_stream_insert is still setting the defaults.
CREATE TRIGGER task_stream_update BEFORE UPDATE ON task_stream
WHEN OLD.created_at IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'task_stream: rows cannot be updated');
END;

CREATE TRIGGER task_stream_delete BEFORE DELETE ON task_stream
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM task_stream WHERE id > OLD.id)
BEGIN
  SELECT RAISE(ABORT, 'task_stream: only agenthub prune removes rows, and never the newest');
END;

-- agents

CREATE TRIGGER agents_exists BEFORE INSERT ON agents
WHEN EXISTS (SELECT 1 FROM agents WHERE n = NEW.n)
  OR EXISTS (SELECT 1 FROM agents WHERE id = NEW.id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER agents_insert AFTER INSERT ON agents
BEGIN
  SELECT CASE
    WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM agents WHERE n <> NEW.n), 0)
      THEN RAISE(ABORT, 'agents.n: omit it; the database assigns it')
    WHEN typeof(NEW.id) <> 'text' OR length(CAST(NEW.id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'agents.id: required, text of at most 1 MiB')
    WHEN NEW.label >= x'' OR length(CAST(NEW.label AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'agents.label: text of at most 1 MiB')
    WHEN NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'agents.status: text of at most 1 MiB')
    WHEN NEW.workspace >= x'' OR length(CAST(NEW.workspace AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'agents.workspace: text of at most 1 MiB')
    WHEN NEW.pid NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.pid) = 'real'
      THEN RAISE(ABORT, 'agents.pid: an integer between -10^15 and 10^15')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'agents.created_at: Unix time in milliseconds, an integer')
    WHEN NEW.last_active_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.last_active_at) = 'real'
      THEN RAISE(ABORT, 'agents.last_active_at: Unix time in milliseconds, an integer')
    WHEN NEW.broadcasts_after NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.broadcasts_after) = 'real'
      THEN RAISE(ABORT, 'agents.broadcasts_after: an integer between -10^15 and 10^15')
  END;
  UPDATE agents
     SET status = coalesce(status, 'idle'),
         created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         last_active_at = coalesce(last_active_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         broadcasts_after = coalesce(broadcasts_after, (SELECT max(n) FROM inbox_messages), 0)
   WHERE n = NEW.n
     AND (NEW.status IS NULL OR NEW.created_at IS NULL OR NEW.last_active_at IS NULL OR NEW.broadcasts_after IS NULL);
  INSERT INTO changes(tbl, row, op) VALUES('agents', NEW.n, 'insert');
END;

-- INSERT INTO active(id) VALUES(…) records that this agent is active: it creates the agent or updates its
-- last_active_at, at most once a second. The user ('human') is not an agent.
CREATE VIEW active AS SELECT id FROM agents;

CREATE TRIGGER active_insert INSTEAD OF INSERT ON active
WHEN NEW.id NOT IN ('', 'human') AND NOT EXISTS (
  SELECT 1 FROM agents
   WHERE id = NEW.id AND last_active_at BETWEEN CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER) - 1000
                                            AND CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
BEGIN
  INSERT INTO agents(id) SELECT NEW.id WHERE NOT EXISTS (SELECT 1 FROM agents WHERE id = NEW.id);
  UPDATE agents SET last_active_at = CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)
   WHERE id = NEW.id;
END;

CREATE TRIGGER agents_update BEFORE UPDATE ON agents
BEGIN
  SELECT CASE
    WHEN NEW.n <> OLD.n
      OR NEW.id IS NOT OLD.id
      OR NEW.created_at IS NOT coalesce(OLD.created_at, NEW.created_at)
      THEN RAISE(ABORT, 'agents: only label, status, workspace and pid can be updated')
    WHEN NEW.label >= x'' OR length(CAST(NEW.label AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'agents.label: text of at most 1 MiB')
    WHEN NEW.status IS NULL OR NEW.status >= x'' OR length(CAST(NEW.status AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'agents.status: text of at most 1 MiB')
    WHEN NEW.workspace >= x'' OR length(CAST(NEW.workspace AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'agents.workspace: text of at most 1 MiB')
    WHEN NEW.pid NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.pid) = 'real'
      THEN RAISE(ABORT, 'agents.pid: an integer between -10^15 and 10^15')
    WHEN NEW.last_active_at IS NULL
      OR NEW.last_active_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.last_active_at) = 'real'
      THEN RAISE(ABORT, 'agents.last_active_at: Unix time in milliseconds, an integer')
    WHEN NEW.broadcasts_after IS NULL
      OR NEW.broadcasts_after NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.broadcasts_after) = 'real'
      THEN RAISE(ABORT, 'agents.broadcasts_after: an integer between -10^15 and 10^15')
  END;
  INSERT INTO changes(tbl, row, op) SELECT 'agents', NEW.n, 'update'
    WHERE NEW.label IS NOT OLD.label
      OR NEW.status <> OLD.status
      OR NEW.workspace IS NOT OLD.workspace
      OR NEW.pid IS NOT OLD.pid;
END;

CREATE TRIGGER agents_delete BEFORE DELETE ON agents
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM agents WHERE n > OLD.n)
BEGIN
  SELECT RAISE(ABORT, 'agents: only agenthub prune removes rows, and never the newest');
END;

-- subscriptions

CREATE TRIGGER subscriptions_exists BEFORE INSERT ON subscriptions
WHEN EXISTS (SELECT 1 FROM subscriptions WHERE n = NEW.n)
  OR EXISTS (SELECT 1 FROM subscriptions WHERE instance_id = NEW.instance_id AND thread_id = NEW.thread_id)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER subscriptions_insert AFTER INSERT ON subscriptions
BEGIN
  SELECT CASE
    WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM subscriptions WHERE n <> NEW.n), 0)
      THEN RAISE(ABORT, 'subscriptions.n: omit it; the database assigns it')
    WHEN typeof(NEW.instance_id) <> 'text' OR length(CAST(NEW.instance_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'subscriptions.instance_id: required, text of at most 1 MiB')
    WHEN typeof(NEW.thread_id) <> 'text' OR length(CAST(NEW.thread_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'subscriptions.thread_id: required, text of at most 1 MiB')
    WHEN NEW.from_seq NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.from_seq) = 'real'
      THEN RAISE(ABORT, 'subscriptions.from_seq: an integer between -10^15 and 10^15')
    WHEN NEW.subscribed_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.subscribed_at) = 'real'
      THEN RAISE(ABORT, 'subscriptions.subscribed_at: Unix time in milliseconds, an integer')
    WHEN NEW.last_ack_seq NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.last_ack_seq) = 'real'
      THEN RAISE(ABORT, 'subscriptions.last_ack_seq: an integer between -10^15 and 10^15')
    WHEN NEW.acked_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.acked_at) = 'real'
      THEN RAISE(ABORT, 'subscriptions.acked_at: Unix time in milliseconds, an integer')
  END;
  UPDATE subscriptions
     SET from_seq = coalesce(from_seq, 0),
         subscribed_at = coalesce(subscribed_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         last_ack_seq = coalesce(last_ack_seq, 0)
   WHERE n = NEW.n
     AND (NEW.from_seq IS NULL OR NEW.subscribed_at IS NULL OR NEW.last_ack_seq IS NULL);
END;

CREATE TRIGGER subscriptions_update BEFORE UPDATE ON subscriptions
BEGIN
  SELECT CASE
    WHEN NEW.n <> OLD.n
      OR NEW.instance_id IS NOT OLD.instance_id
      OR NEW.thread_id IS NOT OLD.thread_id
      THEN RAISE(ABORT, 'subscriptions: only from_seq, subscribed_at, last_ack_seq and acked_at can be updated')
    WHEN NEW.from_seq IS NULL
      OR NEW.from_seq NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.from_seq) = 'real'
      THEN RAISE(ABORT, 'subscriptions.from_seq: an integer between -10^15 and 10^15')
    WHEN NEW.subscribed_at IS NULL
      OR NEW.subscribed_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.subscribed_at) = 'real'
      THEN RAISE(ABORT, 'subscriptions.subscribed_at: Unix time in milliseconds, an integer')
    WHEN NEW.last_ack_seq IS NULL
      OR NEW.last_ack_seq NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.last_ack_seq) = 'real'
      THEN RAISE(ABORT, 'subscriptions.last_ack_seq: an integer between -10^15 and 10^15')
    WHEN NEW.acked_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.acked_at) = 'real'
      THEN RAISE(ABORT, 'subscriptions.acked_at: Unix time in milliseconds, an integer')
  END;
END;

CREATE TRIGGER subscriptions_delete BEFORE DELETE ON subscriptions
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM subscriptions WHERE n > OLD.n)
BEGIN
  SELECT RAISE(ABORT, 'subscriptions: only agenthub prune removes rows, and never the newest');
END;

-- receipts

CREATE TRIGGER receipts_exists BEFORE INSERT ON receipts
WHEN EXISTS (SELECT 1 FROM receipts WHERE n = NEW.n)
  OR EXISTS (SELECT 1 FROM receipts WHERE message_id = NEW.message_id AND reader = NEW.reader AND state = NEW.state)
BEGIN
  INSERT OR IGNORE INTO hub(key) VALUES('epoch');
END;

CREATE TRIGGER receipts_insert AFTER INSERT ON receipts
BEGIN
  SELECT CASE
    WHEN NEW.n <> 1 + coalesce((SELECT max(n) FROM receipts WHERE n <> NEW.n), 0)
      THEN RAISE(ABORT, 'receipts.n: omit it; the database assigns it')
    WHEN typeof(NEW.message_id) <> 'text' OR length(CAST(NEW.message_id AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'receipts.message_id: required, text of at most 1 MiB')
    WHEN typeof(NEW.reader) <> 'text' OR length(CAST(NEW.reader AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'receipts.reader: required, text of at most 1 MiB')
    WHEN typeof(NEW.state) <> 'text' OR length(CAST(NEW.state AS BLOB)) NOT BETWEEN 1 AND 1048576
      THEN RAISE(ABORT, 'receipts.state: required, text of at most 1 MiB')
    WHEN NEW.via >= x'' OR length(CAST(NEW.via AS BLOB)) > 1048576
      THEN RAISE(ABORT, 'receipts.via: text of at most 1 MiB')
    WHEN NEW.created_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.created_at) = 'real'
      THEN RAISE(ABORT, 'receipts.created_at: Unix time in milliseconds, an integer')
  END;
  UPDATE receipts
     SET created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
   WHERE n = NEW.n
     AND NEW.created_at IS NULL;
END;

-- While created_at is NULL, receipts_insert is still setting the defaults.
CREATE TRIGGER receipts_update BEFORE UPDATE ON receipts
WHEN OLD.created_at IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'receipts: rows cannot be updated');
END;

CREATE TRIGGER receipts_delete BEFORE DELETE ON receipts
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning')
  OR NOT EXISTS (SELECT 1 FROM receipts WHERE n > OLD.n)
BEGIN
  SELECT RAISE(ABORT, 'receipts: only agenthub prune removes rows, and never the newest');
END;

-- changes

CREATE TRIGGER changes_exists BEFORE INSERT ON changes
WHEN NEW.seq > 0 AND EXISTS (SELECT 1 FROM changes WHERE seq = NEW.seq)
BEGIN
  SELECT RAISE(ABORT, 'changes: only triggers write here');
END;

CREATE TRIGGER changes_insert AFTER INSERT ON changes
WHEN NEW.seq <> 1 + coalesce((SELECT max(seq) FROM changes WHERE seq <> NEW.seq), 0)
BEGIN
  SELECT RAISE(ABORT, 'changes: only triggers write here');
END;

CREATE TRIGGER changes_update BEFORE UPDATE ON changes
BEGIN
  SELECT RAISE(ABORT, 'changes: rows cannot be updated');
END;

CREATE TRIGGER changes_delete BEFORE DELETE ON changes
WHEN NOT EXISTS (SELECT 1 FROM hub WHERE key = 'pruning') OR NOT EXISTS (SELECT 1 FROM changes WHERE seq > OLD.seq)
BEGIN
  SELECT RAISE(ABORT, 'changes: only agenthub prune removes rows, and never the newest');
END;

-- hub

-- The epoch is immutable, because it identifies the database and because the _exists triggers depend on it.
CREATE TRIGGER hub_insert AFTER INSERT ON hub WHEN NEW.key = 'epoch'
BEGIN
  SELECT RAISE(ABORT, 'OR REPLACE is refused, and the epoch cannot be changed');
END;

CREATE TRIGGER hub_update BEFORE UPDATE ON hub WHEN 'epoch' IN (OLD.key, NEW.key)
BEGIN
  SELECT RAISE(ABORT, 'OR REPLACE is refused, and the epoch cannot be changed');
END;

CREATE TRIGGER hub_delete BEFORE DELETE ON hub WHEN OLD.key = 'epoch'
BEGIN
  SELECT RAISE(ABORT, 'OR REPLACE is refused, and the epoch cannot be changed');
END;

