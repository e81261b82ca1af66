-- From schema version 2 to 3: the table deliveries, the columns agents.broadcasts_after and
-- subscriptions.acked_at, indexes for lists and totals.
--
-- A step never changes after its release: databases that went through it must equal new ones.

ALTER TABLE agents ADD COLUMN broadcasts_after INTEGER;
ALTER TABLE subscriptions ADD COLUMN acked_at INTEGER;

CREATE TABLE deliveries (
  mail    INTEGER,                            -- inbox_messages.n
  reader  TEXT,                               -- the agent
  session TEXT,                               -- the agent's session that got it last
  state   TEXT,                               -- begun (about to be printed), printed
  at      INTEGER,                            -- when it was begun
  PRIMARY KEY(mail, reader)
) WITHOUT ROWID;
CREATE INDEX deliveries_state ON deliveries(reader, state, session);

CREATE INDEX task_stream_status ON task_stream(task_id, id, status, created_at)
  WHERE stream_type = 'status' AND status <> '';
CREATE INDEX agents_active ON agents(last_active_at);

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

DROP TRIGGER IF EXISTS subscriptions_update;
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

-- Version 2 kept the last deliveries of a reader as JSON in hub, with the session and whether the mail was printed. Of
-- the older ones it only had the receipts.
INSERT INTO deliveries(mail, reader, session, state, at)
  SELECT m.n, r.reader, '', 'printed', r.created_at FROM receipts r JOIN inbox_messages m ON m.message_id = r.message_id
   WHERE r.state = 'offered';
INSERT INTO deliveries(mail, reader, session, state, at)
  SELECT json_extract(d.value, '$.n'), substr(hub.key, 9), json_extract(d.value, '$.session'),
         iif(json_extract(d.value, '$.printed'), 'printed', 'begun'), json_extract(d.value, '$.at')
    FROM hub, json_each(iif(typeof(hub.value) = 'text' AND json_valid(hub.value), hub.value, '[]')) d
   WHERE hub.key BETWEEN 'offered:' AND 'offered;' AND d.type = 'object' AND json_type(d.value, '$.n') = 'integer'
  ON CONFLICT(mail, reader) DO UPDATE
     SET session = excluded.session, state = excluded.state, at = excluded.at;
DELETE FROM deliveries
 WHERE NOT EXISTS (SELECT 1 FROM inbox_messages m
                    WHERE m.n = mail AND m.status = 'unread'
                      AND NOT EXISTS (SELECT 1 FROM receipts r
                                       WHERE r.message_id = m.message_id AND r.reader = deliveries.reader
                                         AND r.state <> 'offered'));
DELETE FROM hub WHERE key BETWEEN 'offered:' AND 'offered;';

-- An agent of version 2 gets the mail to 'all' from the first one that is not older than the agent. The senders choose
-- the times, so the highest time so far counts.
CREATE TABLE step_times(time INTEGER PRIMARY KEY, n INTEGER);
INSERT OR IGNORE INTO step_times
  SELECT max(created_at) OVER (ORDER BY n), n FROM inbox_messages WHERE to_inbox = 'all' ORDER BY n;
UPDATE agents
   SET broadcasts_after = coalesce((SELECT n - 1 FROM step_times WHERE time >= agents.created_at ORDER BY time LIMIT 1),
                                   (SELECT max(n) FROM inbox_messages), 0);
DROP TABLE step_times;

-- When a client acknowledged is not known.
UPDATE subscriptions SET acked_at = CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER) WHERE last_ack_seq > 0;
