-- From schema version 2 to 3: indexes for lists and totals.
--
-- A step never changes after its release: databases that went through it must equal new ones.

CREATE INDEX task_stream_status ON task_stream(task_id, id, status, created_at)
  WHERE stream_type = 'status' AND status <> '';
CREATE INDEX agents_active ON agents(last_active_at);
