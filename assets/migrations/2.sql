-- From schema version 1 to 2: the column proof, and new texts of errors.
--
-- A step never changes after its release: databases that went through it must equal new ones.

ALTER TABLE messages ADD COLUMN proof TEXT;
ALTER TABLE inbox_messages ADD COLUMN proof TEXT;

DROP TRIGGER IF EXISTS threads_insert;
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

DROP TRIGGER IF EXISTS threads_count;
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

DROP TRIGGER IF EXISTS threads_update;
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

DROP TRIGGER IF EXISTS messages_insert;
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

DROP TRIGGER IF EXISTS messages_count;
CREATE TRIGGER messages_count BEFORE UPDATE ON messages
WHEN NEW.n <> OLD.n OR NEW.message_seq <> OLD.message_seq OR NEW.message_seq IS NULL AND OLD.message_seq IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'messages: only delivery_state, business_state and deleted_at can be updated');
END;

DROP TRIGGER IF EXISTS messages_update;
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

DROP TRIGGER IF EXISTS inbox_messages_insert;
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

DROP TRIGGER IF EXISTS inbox_messages_update;
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

DROP TRIGGER IF EXISTS telemetry_insert;
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

DROP TRIGGER IF EXISTS telemetry_update;
CREATE TRIGGER telemetry_update BEFORE UPDATE ON telemetry
WHEN OLD.status IS NOT NULL AND OLD.created_at IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'telemetry: rows cannot be updated');
END;

DROP TRIGGER IF EXISTS task_stream_insert;
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

DROP TRIGGER IF EXISTS task_stream_update;
CREATE TRIGGER task_stream_update BEFORE UPDATE ON task_stream
WHEN OLD.created_at IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'task_stream: rows cannot be updated');
END;

DROP TRIGGER IF EXISTS agents_insert;
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
  END;
  UPDATE agents
     SET status = coalesce(status, 'idle'),
         created_at = coalesce(created_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         last_active_at = coalesce(last_active_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER))
   WHERE n = NEW.n
     AND (NEW.status IS NULL OR NEW.created_at IS NULL OR NEW.last_active_at IS NULL);
  INSERT INTO changes(tbl, row, op) VALUES('agents', NEW.n, 'insert');
END;

DROP TRIGGER IF EXISTS agents_update;
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
  END;
  INSERT INTO changes(tbl, row, op) SELECT 'agents', NEW.n, 'update'
    WHERE NEW.label IS NOT OLD.label
      OR NEW.status <> OLD.status
      OR NEW.workspace IS NOT OLD.workspace
      OR NEW.pid IS NOT OLD.pid;
END;

DROP TRIGGER IF EXISTS subscriptions_insert;
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
  END;
  UPDATE subscriptions
     SET from_seq = coalesce(from_seq, 0),
         subscribed_at = coalesce(subscribed_at, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)),
         last_ack_seq = coalesce(last_ack_seq, 0)
   WHERE n = NEW.n
     AND (NEW.from_seq IS NULL OR NEW.subscribed_at IS NULL OR NEW.last_ack_seq IS NULL);
END;

DROP TRIGGER IF EXISTS subscriptions_update;
CREATE TRIGGER subscriptions_update BEFORE UPDATE ON subscriptions
BEGIN
  SELECT CASE
    WHEN NEW.n <> OLD.n
      OR NEW.instance_id IS NOT OLD.instance_id
      OR NEW.thread_id IS NOT OLD.thread_id
      THEN RAISE(ABORT, 'subscriptions: only from_seq, subscribed_at and last_ack_seq can be updated')
    WHEN NEW.from_seq IS NULL
      OR NEW.from_seq NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.from_seq) = 'real'
      THEN RAISE(ABORT, 'subscriptions.from_seq: an integer between -10^15 and 10^15')
    WHEN NEW.subscribed_at IS NULL
      OR NEW.subscribed_at NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.subscribed_at) = 'real'
      THEN RAISE(ABORT, 'subscriptions.subscribed_at: Unix time in milliseconds, an integer')
    WHEN NEW.last_ack_seq IS NULL
      OR NEW.last_ack_seq NOT BETWEEN -1e15 AND 1e15 OR typeof(NEW.last_ack_seq) = 'real'
      THEN RAISE(ABORT, 'subscriptions.last_ack_seq: an integer between -10^15 and 10^15')
  END;
END;

DROP TRIGGER IF EXISTS receipts_insert;
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

DROP TRIGGER IF EXISTS receipts_update;
CREATE TRIGGER receipts_update BEFORE UPDATE ON receipts
WHEN OLD.created_at IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'receipts: rows cannot be updated');
END;

DROP TRIGGER IF EXISTS changes_update;
CREATE TRIGGER changes_update BEFORE UPDATE ON changes
BEGIN
  SELECT RAISE(ABORT, 'changes: rows cannot be updated');
END;

DROP TRIGGER IF EXISTS hub_insert;
CREATE TRIGGER hub_insert AFTER INSERT ON hub WHEN NEW.key = 'epoch'
BEGIN
  SELECT RAISE(ABORT, 'OR REPLACE is refused, and the epoch cannot be changed');
END;

DROP TRIGGER IF EXISTS hub_update;
CREATE TRIGGER hub_update BEFORE UPDATE ON hub WHEN 'epoch' IN (OLD.key, NEW.key)
BEGIN
  SELECT RAISE(ABORT, 'OR REPLACE is refused, and the epoch cannot be changed');
END;

DROP TRIGGER IF EXISTS hub_delete;
CREATE TRIGGER hub_delete BEFORE DELETE ON hub WHEN OLD.key = 'epoch'
BEGIN
  SELECT RAISE(ABORT, 'OR REPLACE is refused, and the epoch cannot be changed');
END;
