-- From schema version 3 to 4: the table sessions.
--
-- A step never changes after its release: databases that went through it must equal new ones.

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
  last_event_at    INTEGER
) WITHOUT ROWID;
CREATE INDEX sessions_agent ON sessions(agent);
CREATE INDEX sessions_open ON sessions(pid) WHERE pid IS NOT NULL AND ended_at IS NULL;
