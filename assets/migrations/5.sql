-- From schema version 4 to 5: the table wakes.
--
-- A step never changes after its release: databases that went through it must equal new ones.

ALTER TABLE sessions ADD COLUMN permission_mode TEXT;
ALTER TABLE sessions ADD COLUMN prompted_at INTEGER;

CREATE TABLE wakes (
  n        INTEGER PRIMARY KEY,
  session  TEXT,
  agent    TEXT,
  mail     INTEGER,
  chain    INTEGER,
  state    TEXT,
  via      TEXT,
  reason   TEXT,
  asked_by TEXT,
  at       INTEGER,
  ended_at INTEGER
);
CREATE INDEX wakes_agent ON wakes(agent);
CREATE INDEX wakes_session ON wakes(session);
CREATE INDEX wakes_open ON wakes(at) WHERE ended_at IS NULL;
