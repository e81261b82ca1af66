#!/usr/bin/env python3
"""Tests assets/schema.sql with plain SQL, through the SQLite library of this Python.

The checks cover the rules that the database itself enforces on every writer: numbering, the change log, columns that never
change, and which statements are refused with which message. They do not cover the program (tests/it), speed, locking
between processes, or crashes. tests/old_sqlite runs them with old SQLite versions.

    python3 tests/schema.py assets/schema.sql            runs the checks
    python3 tests/schema.py assets/schema.sql --mutate   tests the checks: removes one trigger, condition, statement or
                                                         default from the schema at a time; each time a check must fail

The last line is `N passed, N failed`. The exit status is 1 if a check fails.
"""
import itertools
import multiprocessing
import os
import re
import sqlite3
import sys
import tempfile
import time

MIB = 1 << 20
SERIAL = itertools.count()
CLAUSES = ("", "OR ABORT", "OR FAIL", "OR ROLLBACK", "OR IGNORE", "OR REPLACE")
# The pragmas of each kind of connection that the checks run with: those in which writers differ.
CONNECTIONS = tuple(
    (f"foreign_keys={fk}", f"recursive_triggers={rt}", f"ignore_check_constraints={fk}", f"trusted_schema={1 - fk}",
     f"reverse_unordered_selects={rt}")
    for fk in (0, 1) for rt in (0, 1))

# Defaults that are not literals: the current time, 32 hex digits, `msg_` and 32 hex digits, and the number of the newest inbox
# message, which a trigger sets.
NOW, HEX, MSG, NEWEST = "NOW", "HEX", "MSG", "NEWEST"


class Column:
    """A column: its kind (required, text, int, real), its default, whether it is state that UPDATE may change, and the
    maximum size of a text in bytes."""

    def __init__(self, name, kind, default=None, state=False, limit=MIB):
        self.name, self.kind, self.default, self.state, self.limit = name, kind, default, state, limit

    def fresh(self):
        """Returns a valid value that is not the default."""
        return {"int": 41, "real": 4.5}.get(self.kind, "fresh " + self.name)


class Table:
    """A table: its key, its columns in order, its unique keys, and whether its rows are in the change log.

        Rows of an `appended` table never change. The database sets the columns in `kept` itself.
        """

    def __init__(self, name, key, columns, unique=(), logged=True, appended=False, kept=()):
        self.name, self.key, self.columns, self.unique = name, key, columns, unique
        self.logged, self.appended, self.kept = logged, appended, kept
        self.required = [c.name for c in columns if c.kind == "required"]
        self.by_name = {c.name: c for c in columns}

    def row(self, **values):
        """Returns a new row with unique values in the required columns, and with `values`."""
        serial = next(SERIAL)
        return {**{name: f"{name} {serial}" for name in self.required}, **values}


def text(names, **more):
    return [Column(name, "text", **more) for name in names.split()]


def ints(names, **more):
    return [Column(name, "int", **more) for name in names.split()]


def required(names):
    return [Column(name, "required") for name in names.split()]


TABLES = [
    Table("threads", "n", required("id") + [
        Column("title", "text", "", True), Column("created_at", "int", NOW), Column("created_by_type", "text", "agent"),
        Column("created_by_id", "text", ""), Column("status", "text", "active", True),
        Column("context_json", "text", None, True), Column("last_seq", "int", 0), Column("updated_at", "int", NOW)],
        unique=[("id",)], kept=("last_seq", "updated_at")),
    Table("messages", "n", required("thread_id from_id") + [
        Column("id", "text", HEX), Column("message_seq", "int"), Column("created_at", "int", NOW),
        Column("from_type", "text", "agent")] + text("to_type to_id") + [
        Column("kind", "text", "status")] + text("subject") + [
        Column("content", "text", "")] + text("metadata_json reply_to") + [
        Column("delivery_state", "text", "pending", True), Column("business_state", "text", "open", True),
        Column("deleted_at", "int", None, True), Column("proof", "text", limit=512)],
        unique=[("id",)], kept=("message_seq",)),
    Table("inbox_messages", "n", required("from_agent to_inbox") + [
        Column("id", "text", HEX), Column("message_id", "text", MSG)] + text("correlation_id") + [
        Column("message_type", "text", "notification"), Column("title", "text", "")] + text("payload") + [
        Column("priority", "text", "info"), Column("status", "text", "unread", True),
        Column("created_at", "int", NOW)] + ints("read_at expires_at", state=True)
        + text("claimed_by", state=True) + ints("claim_expires_at", state=True) + text("proof", limit=512),
        unique=[("id",), ("message_id",)]),
    Table("telemetry", "id", required("instance_id") + ints("pid turns tokens_in tokens_out") + [
        Column("cost", "real"), Column("status", "text", "running")] + ints("duration_sec")
        + text("agent_id model") + ints("tokens_cached") + text("cost_source") + [Column("created_at", "int", NOW)],
        appended=True),
    Table("task_stream", "id", required("task_id stream_type") + text("thread_id") + ints("turn_num")
          + text("text tool_name tool_input tool_output error_msg status") + ints("tokens_in tokens_out")
          + [Column("cost", "real")] + ints("duration_sec")
          + text("workspace directive directive_full agent_id source_type call_id parent_call_id model")
          + [Column("created_at", "int", NOW)],
          appended=True),
    Table("agents", "n", required("id") + text("label", state=True) + [Column("status", "text", "idle", True)]
          + text("workspace", state=True) + ints("pid", state=True)
          + [Column("created_at", "int", NOW), Column("last_active_at", "int", NOW),
             Column("broadcasts_after", "int", NEWEST)],
          unique=[("id",)], kept=("last_active_at", "broadcasts_after")),
    Table("subscriptions", "n", required("instance_id thread_id") + [
        Column("from_seq", "int", 0, True), Column("subscribed_at", "int", NOW, True),
        Column("last_ack_seq", "int", 0, True)] + ints("acked_at", state=True),
        unique=[("instance_id", "thread_id")], logged=False),
    Table("receipts", "n", required("message_id reader state") + text("via") + [Column("created_at", "int", NOW)],
          unique=[("message_id", "reader", "state")], logged=False, appended=True),
]
BY_NAME = {table.name: table for table in TABLES}
EVERYTHING = [table.name for table in TABLES] + ["deliveries", "sessions", "changes", "hub"]


def now():
    return int(time.time() * 1000)


class Stop(Exception):
    """Raised at the first failure by --mutate, which needs only one."""


class Results:
    """The number of passed checks and the names of failed ones."""

    def __init__(self, stop_early=False):
        self.passed, self.failures, self.stop_early = 0, [], stop_early

    def note(self, good, name):
        if good:
            self.passed += 1
        else:
            self.failures.append(name)
            if self.stop_early:
                raise Stop


class File:
    """A new database with the schema, and the assertions of the checks."""

    def __init__(self, schema, pragmas, results, where):
        self.results, self.where = results, where
        self.db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=2000)
        self.seen = None  # the last dump, if no statement has run since
        self.db.executescript("BEGIN IMMEDIATE;\n" + schema + "\nCOMMIT;")
        for pragma in pragmas:
            self.db.execute("PRAGMA " + pragma)

    def close(self):
        self.db.close()

    def q(self, sql, *values):
        self.seen = None
        return self.db.execute(sql, values).fetchall()

    def one(self, sql, *values):
        rows = self.q(sql, *values)
        return rows[0][0] if rows else None

    def check(self, good, name):
        self.results.note(good, f"{self.where}: {name}")

    def equal(self, got, want, name):
        self.check(got == want, f"{name}: {short(got)}, not {short(want)}")

    def dump(self):
        return [self.db.execute(f"SELECT * FROM {name}").fetchall() for name in EVERYTHING]

    def accepted(self, name, sql, *values):
        """Asserts that the statement succeeds."""
        try:
            self.q(sql, *values)
        except sqlite3.Error as error:
            self.check(False, f"{name}: refused: {error}")
            return False
        self.check(True, name)
        return True

    def refused(self, name, sql, *values, says=None):
        """Asserts that the statement fails with a message that contains `says`, and changes nothing."""
        before = self.seen or self.dump()
        try:
            self.q(sql, *values)
        except sqlite3.Error as error:
            self.seen = self.dump()
            self.check(says is None or says in str(error), f"{name}: the message is {error!s}, not {says}")
            self.check(self.seen == before, f"{name}: refused, but rows changed")
            return
        self.check(False, f"{name}: not refused")

    def unchanged(self, name, sql, *values):
        """Asserts that the statement succeeds and changes nothing."""
        before = self.dump()
        if self.accepted(name, sql, *values):
            self.check(self.dump() == before, f"{name}: rows changed")

    def insert(self, table, clause="", tail="", **values):
        sql, bound = insertion(table, clause, tail, **values)
        self.seen = None
        return self.db.execute(sql, bound).lastrowid

    def last(self, table):
        key = BY_NAME[table].key
        cursor = self.db.execute(f"SELECT * FROM {table} ORDER BY {key} DESC LIMIT 1")
        return dict(zip([d[0] for d in cursor.description], cursor.fetchone()))

    def log(self):
        return self.q("SELECT tbl, row, op FROM changes ORDER BY seq")

    def prune(self, *statements):
        self.q("BEGIN IMMEDIATE")
        self.q("INSERT INTO hub VALUES('pruning', 1)")
        for sql in statements:
            self.q(sql)
        self.q("DELETE FROM hub WHERE key = 'pruning'")
        self.q("COMMIT")

    def sound(self, pruned=False):
        """Asserts the invariants of every database."""
        for n, last in self.q("SELECT n, last_seq FROM threads"):
            seqs = [r[0] for r in self.q("SELECT message_seq FROM messages "
                                         "WHERE thread_id=(SELECT id FROM threads WHERE n=?) ORDER BY n", n)]
            self.equal(seqs, list(range(last - len(seqs) + 1 if pruned else 1, last + 1)), f"numbers of thread {n}")
        self.equal(self.q("SELECT thread_id FROM messages WHERE thread_id NOT IN (SELECT id FROM threads)"), [],
                   "messages without a thread")
        seqs = [r[0] for r in self.q("SELECT seq FROM changes ORDER BY seq")]
        start = seqs[0] if pruned and seqs else 1
        self.equal(seqs, list(range(start, start + len(seqs))), "numbers of the log")
        self.equal([r[0] for r in self.q("SELECT key FROM hub")], ["epoch"], "keys of the table hub")
        for table in TABLES:
            self.equal([c.name for c in table.columns if c.default is not None
                        and self.one(f"SELECT count(*) FROM {table.name} WHERE {c.name} IS NULL")], [],
                       f"{table.name}: NULL instead of the default")
            if table.logged and not pruned:
                rows = sorted(r[0] for r in self.q(f"SELECT {table.key} FROM {table.name}"))
                logged = sorted(r[0] for r in self.q("SELECT row FROM changes WHERE op='insert' AND tbl=?", table.name))
                self.equal(logged, rows, f"{table.name}: one insert in the log for each row")
        self.equal(self.one("PRAGMA integrity_check"), "ok", "integrity")


def short(value):
    value = repr(value[:60] if isinstance(value, (str, bytes)) else value)
    return value if len(value) < 200 else value[:200] + "…"


def insertion(table, clause="", tail="", **values):
    values = BY_NAME[table].row(**values)
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    return f"INSERT {clause} INTO {table}({names}) VALUES({marks}) {tail}", tuple(values.values())


def refused_insert(f, name, table, clause="", says=None, **values):
    sql, bound = insertion(table, clause, **values)
    f.refused(f"{table} {clause} {name}", sql, *bound, says=says)


def is_default(column, value, around):
    if column.default == NOW:
        return type(value) is int and abs(value - around) < 60_000
    if column.default == NEWEST:
        return type(value) is int and value >= 0
    if column.default in (HEX, MSG):
        return re.fullmatch("(msg_)?[0-9a-f]{32}" if column.default == MSG else "[0-9a-f]{32}", str(value)) is not None
    return value == column.default and type(value) is type(column.default)


# ---- checks: each gets a new database --------------------------------------------------------------------------------

def check_shape(f):
    """Tables, columns and their order, and queries that must use an index."""
    for table in TABLES:
        f.equal([r[1] for r in f.q(f"PRAGMA table_info({table.name})")],
                [table.key] + [c.name for c in table.columns], f"{table.name}: columns")
        f.equal([r[1] for r in f.q(f"PRAGMA table_info({table.name})") if r[5]], [table.key], f"{table.name}: key")
        f.equal([r[1] for r in f.q(f"PRAGMA table_info({table.name})") if r[4] is not None],
                [c.name for c in table.columns if c.default not in (None, NEWEST)], f"{table.name}: columns with a default")
    f.equal([r[1] for r in f.q("PRAGMA table_info(changes)")], "seq tbl row op tag".split(), "changes: columns")
    f.equal([r[1] for r in f.q("PRAGMA table_info(hub)")], ["key", "value"], "hub: columns")
    f.check(re.fullmatch("[0-9a-f]{32}", f.one("SELECT value FROM hub WHERE key='epoch'")), "epoch")
    f.equal(f.dump()[:-1], [[]] * (len(EVERYTHING) - 1), "a new database is empty")
    for sql, index in (
            ("SELECT * FROM messages WHERE thread_id='t' AND message_seq>5 ORDER BY message_seq", "messages_thread"),
            ("SELECT * FROM messages WHERE id='x'", "sqlite_autoindex_messages_1"),
            ("SELECT * FROM inbox_messages WHERE to_inbox='a' AND status='unread' ORDER BY n", "inbox_messages_list"),
            ("SELECT * FROM inbox_messages WHERE correlation_id='c'", "inbox_messages_correlation"),
            ("SELECT * FROM inbox_messages WHERE claim_expires_at<5", "inbox_messages_claims"),
            ("SELECT max(id) FROM telemetry WHERE instance_id='i'", "telemetry_instance"),
            ("SELECT * FROM task_stream WHERE task_id='t' AND id>5 ORDER BY id", "task_stream_task"),
            ("SELECT task_id, status, created_at, max(id) FROM task_stream WHERE stream_type = 'status' AND status <> '' "
             "GROUP BY task_id", "task_stream_status"),
            ("SELECT * FROM agents WHERE last_active_at>5 ORDER BY last_active_at DESC, n DESC", "agents_active"),
            ("SELECT * FROM receipts WHERE message_id='m'", "sqlite_autoindex_receipts_1"),
            ("SELECT * FROM deliveries WHERE reader='r' AND mail=5", "PRIMARY KEY"),
            ("SELECT mail FROM deliveries WHERE reader='r' AND state='printed' AND session='s' ORDER BY mail", "deliveries_state"),
            ("SELECT * FROM sessions WHERE id='s'", "PRIMARY KEY"),
            ("SELECT * FROM sessions WHERE agent='a'", "sessions_agent"),
            ("SELECT * FROM sessions WHERE pid=5 AND ended_at IS NULL", "sessions_open"),
            ("SELECT * FROM changes WHERE seq>5 ORDER BY seq", "INTEGER PRIMARY KEY")):
        plan = " ".join(r[-1] for r in f.q("EXPLAIN QUERY PLAN " + sql))
        f.check(index in plan and "TEMP B-TREE" not in plan, f"{sql}: {plan}")


def check_defaults(f):
    """A row with only the required columns gets all defaults; an explicit NULL counts as a missing value."""
    for table in TABLES:
        around = now()
        f.insert(table.name)
        row = f.last(table.name)
        for c in table.columns:
            if c.kind != "required" and c.name not in ("message_seq",):
                f.check(is_default(c, row[c.name], around), f"{table.name}.{c.name}: default {row[c.name]!r}")
        for c in table.columns:  # one column at a time, then all of them
            if c.kind != "required":
                values = table.row(**{c.name: None})
                if f.accepted(f"{table.name}.{c.name}: explicit NULL", *flat(insertion(table.name, **values))):
                    row = f.last(table.name)
                    f.equal(row[table.required[0]], values[table.required[0]], f"{table.name}: the row is there")
                    f.check(c.name == "message_seq" or is_default(c, row[c.name], now()),
                            f"{table.name}.{c.name}: NULL became {row[c.name]!r}")
        f.insert(table.name, **{c.name: None for c in table.columns if c.kind != "required"})
        row = f.last(table.name)
        f.check(all(is_default(c, row[c.name], now()) for c in table.columns
                    if c.kind != "required" and c.name != "message_seq"), f"{table.name}: all NULL")
        f.equal(row[table.key], len(f.q(f"SELECT 1 FROM {table.name}")), f"{table.name}: key counts up")
    f.equal(f.q("SELECT tbl FROM changes WHERE op='update'"), [], "setting a default is not logged as an update")
    first, second = (f.insert("messages") for _ in range(2))
    f.check(f.one("SELECT id FROM messages WHERE n=?", first) != f.one("SELECT id FROM messages WHERE n=?", second),
            "ids are random")
    f.sound()


def flat(pair):
    sql, bound = pair
    return (sql, *bound)


def check_broadcasts(f):
    """A new agent's broadcasts_after is the number of the newest inbox message; a row without it gets the other defaults too."""
    f.insert("agents", id="first")
    for _ in range(3):
        f.insert("inbox_messages", to_inbox="all", from_agent="first")
    f.insert("agents", id="second")
    f.q("INSERT INTO active(id) VALUES('third')")
    f.equal(f.q("SELECT id, broadcasts_after FROM agents ORDER BY n"), [("first", 0), ("second", 3), ("third", 3)],
            "broadcasts_after")
    for c in BY_NAME["agents"].columns:
        if c.default not in (None, NEWEST):
            f.insert("agents", **{c.name: None, "broadcasts_after": 2})
            row = f.last("agents")
            f.check(is_default(c, row[c.name], now()) and row["broadcasts_after"] == 2, f"agents.{c.name}: default {row[c.name]!r}")
    f.sound()


def check_required(f):
    """A required column that is empty, missing, too long or not text is refused by name, with every conflict clause."""
    for table in TABLES:
        for name in table.required:
            for clause in CLAUSES:
                for bad in (None, "", b"blob", b"") + (("x" * (MIB + 1),) if clause in ("", "OR IGNORE") else ()):
                    refused_insert(f, f"{name}={short(bad)}", table.name, clause, f"{table.name}.{name}:", **{name: bad})
            rest = table.row()
            del rest[name]
            names, marks = ", ".join(rest) or table.columns[-1].name, ", ".join("?" * len(rest)) or "1"
            f.refused(f"{table.name} without {name}", f"INSERT OR IGNORE INTO {table.name}({names}) VALUES({marks})",
                      *rest.values(), says=f"{table.name}.{name}:")
        f.refused(f"{table.name} DEFAULT VALUES", f"INSERT INTO {table.name} DEFAULT VALUES",
                  says=f"{table.name}.{table.required[0]}:")


def check_text(f):
    """Text columns hold up to 1 MiB, proof up to 512 bytes. Numbers are converted to text; text that is not UTF-8 is stored unchanged."""
    for table in TABLES:
        for c in table.columns:
            if c.kind not in ("text", "required"):
                continue
            column = f"{table.name}.{c.name}"
            for clause, bad in (("", b"blob"), ("", b""), ("OR REPLACE", "x" * (c.limit + 1)), ("OR IGNORE", b"blob"),
                                ("", "é" * (c.limit // 2) + "x"), ("OR IGNORE", "a\0" + "b" * c.limit)):
                refused_insert(f, f"{c.name}={short(bad)}", table.name, clause, column + ":", **{c.name: bad})
            for good in ("x" * c.limit, "a\0b", "naïve ✓", 5, 2.5):
                f.q("SAVEPOINT good")
                if f.accepted(f"{column}={short(good)}", *flat(insertion(table.name, **{c.name: good}))):
                    f.equal(f.last(table.name)[c.name], str(good), column)
                f.q("ROLLBACK TO good")
                f.q("RELEASE good")
            f.q("SAVEPOINT good")
            sql, bound = insertion(table.name, **{c.name: b"no \xff UTF-8"})
            sql = re.sub(r"VALUES\(.*\)", "VALUES(" + ", ".join(
                "CAST(? AS TEXT)" if type(value) is bytes else "?" for value in bound) + ")", sql)
            if f.accepted(f"{column}: not UTF-8", sql, *bound):
                got = f"SELECT hex({c.name}), typeof({c.name}) FROM {table.name} ORDER BY {table.key} DESC LIMIT 1"
                f.equal(f.q(got), [(b"no \xff UTF-8".hex().upper(), "text")], f"{column}: not UTF-8")
            f.q("ROLLBACK TO good")
            f.q("RELEASE good")
    for column in ("messages.id", "inbox_messages.id", "inbox_messages.message_id"):
        table, name = column.split(".")
        for clause in CLAUSES:
            refused_insert(f, f"{name} empty", table, clause, column + ":", **{name: ""})
    f.sound()


def check_numbers(f):
    """Number columns accept only numbers, integer columns only integers; a number in quotes is converted."""
    for table in TABLES:
        for c in table.columns:
            if c.kind not in ("int", "real") or c.name in ("last_seq", "message_seq"):
                continue
            column = f"{table.name}.{c.name}"
            bad = ["many", "", "12 apples", "0x10", b"12", b"", 10**15 + 1, -10**15 - 1, 1e16, 2**63 - 1, -2**63,
                   1e300, float("inf"), float("-inf"), "9e999"]
            bad += [1.5, "1.5", -0.25] if c.kind == "int" else []
            for clause in CLAUSES:
                for value in bad if clause in ("", "OR IGNORE") else bad[:1]:
                    refused_insert(f, f"{c.name}={value!r}", table.name, clause, column + ":", **{c.name: value})
            for value, want in (("12", 12), (12.0, 12), (" 7 ", 7), ("1e3", 1000), (0, 0), (-5, -5), (10**15, 10**15),
                                (-10**15, -10**15), (1.8e12, 1800000000000), (float("nan"), None)) \
                    + (() if c.kind == "int" else ((0.25, 0.25), ("0.5", 0.5))):
                f.q("SAVEPOINT good")
                if f.accepted(f"{column}={value!r}", *flat(insertion(table.name, **{c.name: value}))):
                    got = f.last(table.name)[c.name]
                    good = is_default(c, got, now()) if want is None else \
                        got == want and type(got) is (int if c.kind == "int" else float)
                    f.check(good, f"{column}={value!r}: stored {got!r}")
                f.q("ROLLBACK TO good")
                f.q("RELEASE good")
    f.sound()


def check_unknown_words(f):
    """Unknown values of kinds and states are stored, because agents may be newer than the hub."""
    for table, name in (("messages", "kind"), ("messages", "from_type"), ("messages", "delivery_state"),
                        ("inbox_messages", "message_type"), ("inbox_messages", "priority"), ("inbox_messages", "status"),
                        ("telemetry", "status"), ("telemetry", "cost_source"), ("task_stream", "stream_type"),
                        ("threads", "status"), ("agents", "status"), ("receipts", "state")):
        f.insert(table, **{name: "unknown"})
        f.equal(f.last(table)[name], "unknown", f"{table}.{name}")
    f.sound()


def check_log(f):
    """Each insert has one entry in the change log, in commit order, with a random tag."""
    for table in TABLES:
        before = f.log()
        key = f.insert(table.name)
        new = f.log()[len(before):]
        f.equal(new[-1:] if table.logged else new, [(table.name, key, "insert")] if table.logged else [],
                f"{table.name}: log entry")
    tags = [r[0] for r in f.q("SELECT tag FROM changes")]
    f.check(all(type(t) is int and 0 <= t < 1 << 32 for t in tags), "tags have 32 bits")
    f.check(len(set(tags)) > len(tags) - 2 and max(tags) > 1 << 24, "tags are random")
    f.sound()


def check_state(f):
    """State columns can change, with one log entry per UPDATE; an UPDATE that changes nothing is not logged."""
    for table in TABLES:
        key = f.insert(table.name)
        f.insert(table.name)
        for c in table.columns:
            if not c.state and c.name not in ("updated_at", "last_active_at", "broadcasts_after"):
                continue
            column, where = f"{table.name}.{c.name}", f"WHERE {table.key}={key}"
            entry = [(table.name, key, "update")] if table.logged and c.state else []
            for clause in CLAUSES:
                value = c.fresh() if c.kind == "int" else f"{c.fresh()} {clause}"
                value = value + CLAUSES.index(clause) if c.kind == "int" else value
                before = f.log()
                if f.accepted(f"{column} {clause}", f"UPDATE {clause} {table.name} SET {c.name}=? {where}", value):
                    f.equal(f.one(f"SELECT {c.name} FROM {table.name} {where}"), value, f"{column} is set")
                    f.equal(f.log()[len(before):], entry, f"{column} {clause}: log")
                before = f.log()
                f.q(f"UPDATE {clause} {table.name} SET {c.name}={c.name} {where}")
                f.equal(f.log(), before, f"{column} {clause}: no change, no entry")
                bad = [b"blob", b""] if c.kind == "text" else ["soon", 1.5, b"1", 10**15 + 1, -10**15 - 1, 2**63 - 1]
                bad += ["x" * (MIB + 1)] if c.kind == "text" and clause in ("", "OR IGNORE") else []
                for wrong in bad + ([None] if c.default is not None else []):
                    f.refused(f"{column}={short(wrong)} {clause}",
                              f"UPDATE {clause} {table.name} SET {c.name}=? {where}", wrong, says=column + ":")
            for value, want in ((" 12 ", 12), (13.0, 13), (10**15, 10**15), (-10**15, -10**15)) if c.kind == "int" else ((12, "12"), ("x" * MIB, "x" * MIB)):
                f.q("SAVEPOINT good")
                f.q(f"UPDATE {table.name} SET {c.name}=? {where}", value)
                got = f.one(f"SELECT {c.name} FROM {table.name} {where}")
                f.q("ROLLBACK TO good")
                f.q("RELEASE good")
                f.check(got == want and type(got) is type(want), f"{column}: {short(value)} stored as {short(got)}")
            if c.default is None:
                before = f.log()
                f.q(f"UPDATE {table.name} SET {c.name}=NULL {where}")
                f.equal(f.one(f"SELECT {c.name} FROM {table.name} {where}"), None, f"{column}: back to NULL")
                f.equal(f.log()[len(before):], entry, f"{column}: back to NULL is logged")
                before = f.log()
                f.q(f"UPDATE {table.name} SET {c.name}=? {where}", c.fresh())
                f.equal(f.log()[len(before):], entry, f"{column}: from NULL is logged")
        state = [c for c in table.columns if c.state]
        if table.logged and len(state) > 1:
            before = f.log()
            f.q(f"UPDATE {table.name} SET {', '.join(c.name + '=?' for c in state)} WHERE {table.key}={key}",
                *(7 if c.kind == "int" else "at once" for c in state))
            f.equal(f.log()[len(before):], [(table.name, key, "update")], f"{table.name}: one entry for one UPDATE")
            before = f.log()
            f.q(f"UPDATE {table.name} SET {state[0].name}='everywhere'")
            f.equal(len(f.log()) - len(before), f.one(f"SELECT count(*) FROM {table.name}"), f"{table.name}: each row")
    f.sound()


def check_frozen(f):
    """Identity and content never change, with any conflict clause, under any name of the key."""
    for table in TABLES:
        full = {c.name: f"{c.fresh()} in {table.name}" if c.kind in ("text", "required") else c.fresh()
                for c in table.columns if c.name not in ("last_seq", "message_seq")}
        rows = {"full": f.insert(table.name, **full), "bare": f.insert(table.name)}
        for name, key in rows.items():
            where = f"WHERE {table.key}={key}"
            for c in table.columns:
                if c.state or c.name in ("updated_at", "last_active_at", "broadcasts_after"):
                    continue
                column = f"{table.name}.{c.name} of the {name} row"
                now_is = f.one(f"SELECT {c.name} FROM {table.name} {where}")
                for value in (99, "other", None) if c.kind == "int" else ("other", None, b"x", ""):
                    for clause in CLAUSES if value == "other" else ("",):
                        if value != now_is:
                            f.refused(f"{column}={value!r} {clause}",
                                      f"UPDATE {clause} {table.name} SET {c.name}=? {where}", value)
                f.refused(f"{column} with a state", f"UPDATE {table.name} SET {c.name}='other'"
                          + "".join(f", {s.name}={s.name}" for s in table.columns if s.state) + f" {where}")
                if not table.appended:
                    f.unchanged(f"{column} as it was", f"UPDATE {table.name} SET {c.name}={c.name} {where}")
            for alias in (table.key, "rowid", "oid", "_rowid_"):
                for clause in CLAUSES:
                    for target in ("99", "-1", "1", "2") if alias in (table.key, "rowid") else ("99",):
                        if target != str(key):
                            sql = f"UPDATE {clause} {table.name} SET {alias}={target} {where}"
                            taken = target in ("1", "2") and clause == "OR IGNORE"  # SQLite may ignore the statement
                            (ignored if taken else f.refused)(*((f,) if taken else ()), f"{sql}", sql)
    for table in TABLES:
        if table.appended:
            for sql in (f"UPDATE {table.name} SET {table.columns[0].name}={table.columns[0].name}",
                        f"UPDATE OR IGNORE {table.name} SET created_at=created_at",
                        f"UPDATE OR REPLACE {table.name} SET {table.key}={table.key}"):
                f.refused(sql, sql, says=f"{table.name}:")
    f.sound()


def ignored(f, name, sql):
    """Asserts that the statement changes nothing, whether it is refused or ignored."""
    before = f.dump()
    try:
        f.q(sql)
    except sqlite3.Error:
        pass
    f.check(f.dump() == before, f"{name}: rows changed")


def check_duplicates(f):
    """A row with an existing key fails or is ignored (OR IGNORE), never replaces a row, and leaves no trace."""
    for table in TABLES:
        for unique in table.unique:
            mine = {name: f"once {name}" for name in unique}
            f.insert(table.name, **mine)
            f.insert(table.name, **{name: f"newest {name}" for name in {**mine, **table.row()}})
            for other in ({}, {name: f"ghost {name}" for name in table.required if name not in unique}):
                values = {**table.row(), **mine, **other}
                for clause in CLAUSES:
                    sql, bound = insertion(table.name, clause, **values)
                    name = f"{table.name}{unique} again {clause}"
                    if clause == "OR IGNORE":
                        f.unchanged(name, sql, *bound)
                    else:
                        f.refused(name, sql, *bound)
                sql, bound = insertion(table.name, "OR REPLACE", **values)
                f.refused(f"{table.name} REPLACE INTO", sql.replace("INSERT OR REPLACE", "REPLACE"), *bound,
                          says="OR REPLACE")
                f.unchanged(f"{table.name}{unique} DO NOTHING",
                            *flat(insertion(table.name, "", "ON CONFLICT DO NOTHING", **values)))
                f.unchanged(f"{table.name}{unique} targeted DO NOTHING",
                            *flat(insertion(table.name, "", f"ON CONFLICT({', '.join(unique)}) DO NOTHING", **values)))
                f.unchanged(f"{table.name}{unique} IGNORE SELECT",
                            *flat((lambda s, b: (s.replace("VALUES(", "SELECT ").replace("?) ", "? "), b))(
                                *insertion(table.name, "OR IGNORE", **values))))
            key = f.one(f"SELECT {table.key} FROM {table.name} WHERE "
                        + " AND ".join(f"{name}=?" for name in unique), *mine.values())
            for c in table.columns:
                if c.name in table.kept:
                    continue
                value = c.fresh()
                sql, bound = insertion(table.name, "", f"ON CONFLICT({', '.join(unique)}) DO UPDATE SET {c.name}=?",
                                       **{**table.row(), **mine})
                before, log = f.q(f"SELECT * FROM {table.name}"), f.log()
                if c.state:
                    if f.accepted(f"{table.name}.{c.name} UPSERT", sql, *bound, value):
                        f.equal(f.one(f"SELECT {c.name} FROM {table.name} WHERE {table.key}={key}"), value,
                                f"{table.name}.{c.name} UPSERT")
                        f.equal(len(f.q(f"SELECT 1 FROM {table.name}")), len(before), f"{table.name} UPSERT: no new row")
                        f.equal(f.log()[len(log):], [(table.name, key, "update")] if table.logged else [],
                                f"{table.name}.{c.name} UPSERT: log")
                else:
                    f.refused(f"{table.name}.{c.name} UPSERT", sql, *bound, value)
    f.sound()


def check_new_under_every_clause(f):
    """A row with a new key is stored with every conflict clause."""
    for table in TABLES:
        for clause in CLAUSES:
            before = f.one(f"SELECT count(*) FROM {table.name}")
            f.accepted(f"{table.name} {clause}", *flat(insertion(
                table.name, clause)))
            f.equal(f.one(f"SELECT count(*) FROM {table.name}"), before + 1, f"{table.name} {clause}: stored")
            f.accepted(f"{table.name} {clause} UPSERT", *flat(insertion(
                table.name, "", "ON CONFLICT DO NOTHING")))
            f.equal(f.one(f"SELECT count(*) FROM {table.name}"), before + 2, f"{table.name} UPSERT: stored")
            for unique in table.unique:  # a key that differs in one column is new
                same = {name: f"{clause} same {name}" for name in unique}
                f.insert(table.name, **same)
                for name in unique:
                    f.accepted(f"{table.name} {clause}: another {name}",
                               *flat(insertion(table.name, clause, **{**same, name: f"{clause} other {name}"})))
    f.sound()


def check_keys(f):
    """Only the database assigns integer keys: none is chosen by a writer, reused or skipped."""
    for table in TABLES:
        for _ in range(3):
            f.insert(table.name)
        top = f.one(f"SELECT max({table.key}) FROM {table.name}")
        for alias in (table.key, "rowid"):
            for clause in CLAUSES:
                for key in (0, -1, -5, top + 2, 99, 2**63 - 1, -2**63, "x", 1.5):
                    refused_insert(f, f"{alias}={key!r}", table.name, clause, **{alias: key, table.required[0]: "key"})
                for key in (1, 2, top):  # exists already
                    sql, bound = insertion(table.name, clause, **{alias: key, table.required[0]: "forged"})
                    if clause == "OR IGNORE":
                        f.unchanged(f"{table.name}.{alias}={key} {clause}", sql, *bound)
                    else:
                        f.refused(f"{table.name}.{alias}={key} {clause}", sql, *bound)
        f.insert(table.name)
        f.equal(f.last(table.name)[table.key], top + 1, f"{table.name}: key continues")
    f.sound()


def check_delete(f):
    """DELETE is refused outside of prune."""
    f.insert("messages")
    for table in TABLES:
        f.insert(table.name)
        f.insert(table.name)
        for where in ("", f"WHERE {table.key}=1", f"WHERE {table.key}=2", "WHERE rowid<3"):
            f.refused(f"DELETE FROM {table.name} {where}", f"DELETE FROM {table.name} {where}", says=f"{table.name}:")
    for sql in ("DELETE FROM changes", "DELETE FROM changes WHERE seq=1", "DELETE FROM hub", "DELETE FROM hub WHERE key='epoch'"):
        f.refused(sql, sql)
    f.sound()


def check_changes_and_hub(f):
    """The change log and the epoch cannot be edited."""
    f.insert("messages")
    top = f.one("SELECT max(seq) FROM changes")
    for clause in CLAUSES:
        for seq in (0, -1, -7, 1, 2, top, top + 2, 2**63 - 1, -2**63):
            f.refused(f"changes.seq={seq} {clause}", f"INSERT {clause} INTO changes(seq, tbl, row, op) VALUES(?, 'x', 1, 'insert')", seq)
        for setting in ("tbl='x'", "row=9", "op='x'", "tag=1", "tag=tag", "seq=seq+10", "rowid=99", "seq=-seq", "_rowid_=1"):
            f.refused(f"changes SET {setting} {clause}", f"UPDATE {clause} changes SET {setting}")
        f.refused(f"epoch {clause}", f"UPDATE {clause} hub SET value='x' WHERE key='epoch'")
        f.refused(f"epoch's key {clause}", f"UPDATE {clause} hub SET key='x'")
        f.q("INSERT OR IGNORE INTO hub VALUES('a key', 1)")
        f.refused(f"another epoch {clause}", f"UPDATE {clause} hub SET key='epoch' WHERE key='a key'")
        f.q("DELETE FROM hub WHERE key='a key'")
        if clause == "OR IGNORE":
            f.unchanged("epoch OR IGNORE", "INSERT OR IGNORE INTO hub VALUES('epoch', 'x')")
        else:
            f.refused(f"epoch again {clause}", f"INSERT {clause} INTO hub VALUES('epoch', 'x')")
    f.refused("epoch UPSERT", "INSERT INTO hub VALUES('epoch', 'x') ON CONFLICT(key) DO UPDATE SET value='x'")
    f.accepted("hub: insert a key", "INSERT OR REPLACE INTO hub VALUES('fact', 1)")
    f.accepted("hub: replaced", "INSERT OR REPLACE INTO hub VALUES('fact', 2)")
    f.accepted("hub: UPSERT", "INSERT INTO hub VALUES('fact', 2) ON CONFLICT(key) DO UPDATE SET value=3")
    f.accepted("hub: updated", "UPDATE hub SET value=value+1 WHERE key='fact'")
    f.equal(f.one("SELECT value FROM hub WHERE key='fact'"), 4, "hub: the value")
    f.accepted("hub: deleted", "DELETE FROM hub WHERE key='fact'")
    f.sound()


def check_message_numbers(f):
    """message_seq is 1, 2, 3 … in each thread: assigned, or accepted if it is the next number."""
    f.q("INSERT INTO messages(thread_id, from_id, content) VALUES('t', 'a', '1')")
    f.q("INSERT INTO messages(thread_id, from_id, content) VALUES('t','a','2'), ('u','b','1'), ('t','a','3')")
    f.equal(f.q("SELECT thread_id, message_seq FROM messages ORDER BY n"), [("t", 1), ("t", 2), ("u", 1), ("t", 3)],
            "a statement of several rows")
    for clause in CLAUSES:
        for seq in (0, -1, 1, 2, 3, 5, 9, 2**63 - 1, "many", 3.5, b"4", ""):
            refused_insert(f, f"message_seq={seq!r}", "messages", clause, "messages.message_seq:", thread_id="t", message_seq=seq)
        refused_insert(f, "message_seq=2 in a new thread", "messages", clause, "messages.message_seq:",
                       thread_id="new", message_seq=2)
    for seq in (4, "5", 6.0):
        f.insert("messages", thread_id="t", message_seq=seq)
    f.insert("messages", thread_id="fresh", message_seq=1)
    f.insert("messages", thread_id="t", message_seq=7, id=None, created_at=None, kind=None)
    f.equal(f.last("messages")["message_seq"], 7, "explicit number with NULLs in other columns")
    f.insert("messages", thread_id="t", id="eight", message_seq=8)
    f.unchanged("ignored with its own number", *flat(insertion("messages", "OR IGNORE", thread_id="t", id="eight", message_seq=8)))
    f.unchanged("ignored with the next number", *flat(insertion("messages", "OR IGNORE", thread_id="t", id="eight", message_seq=9)))
    f.insert("messages", thread_id="t")
    f.equal(f.last("messages")["message_seq"], 9, "no number is skipped")
    f.q("INSERT INTO messages(thread_id, from_id) SELECT 't', 'a' FROM messages")
    f.q("INSERT OR IGNORE INTO messages(id, thread_id, from_id) SELECT CASE WHEN n%2 THEN id END, 't', 'a' FROM messages")
    f.refused("several rows, one of them bad", "INSERT INTO messages(thread_id, from_id, content) "
              "SELECT 't', 'a', c FROM (SELECT 'good' AS c UNION ALL SELECT x'00')", says="messages.content:")
    f.refused("several rows, one of them bad, OR FAIL", "INSERT OR FAIL INTO messages(thread_id, from_id, content) "
              "SELECT 't', 'a', c FROM (SELECT 'good' AS c UNION ALL SELECT x'00')", says="messages.content:")
    f.q("BEGIN")
    f.insert("messages", thread_id="t")
    f.insert("messages", thread_id="rolled back", from_id="ghost")
    f.q("ROLLBACK")
    f.equal(f.q("SELECT 1 FROM threads WHERE id='rolled back' UNION ALL SELECT 1 FROM agents WHERE id='ghost'"), [],
            "a rolled back message leaves no thread and no agent")
    f.q("BEGIN IMMEDIATE")
    f.insert("messages", thread_id="t", id="kept")
    f.q("SAVEPOINT s")
    f.insert("messages", thread_id="t")
    f.insert("messages", thread_id="s")
    f.q("ROLLBACK TO s")
    f.insert("messages", thread_id="t", id="after")
    f.q("COMMIT")
    f.equal(f.one("SELECT message_seq FROM messages WHERE id='after'"),
            f.one("SELECT message_seq FROM messages WHERE id='kept'") + 1, "after a savepoint")
    f.sound()


def check_message_effects(f):
    """A message creates its thread and agent, logged before it, and updates the thread."""
    f.q("INSERT INTO messages(thread_id, from_id, from_type) VALUES('t', 'a', 'agent')")
    f.equal(sorted(f.log()[:2]) + f.log()[2:], [("agents", 1, "insert"), ("threads", 1, "insert"), ("messages", 1, "insert")],
            "thread and agent come first")
    thread = f.last("threads")
    f.equal((thread["created_by_type"], thread["created_by_id"], thread["title"], thread["status"], thread["last_seq"]),
            ("agent", "a", "", "active", 1), "the thread that a message creates")
    f.q("INSERT INTO messages(thread_id, from_id, from_type) VALUES('h', 'someone', 'human')")
    f.equal(f.last("threads")["created_by_type"], "human", "created by a human")
    for who, kind in (("someone", "human"), ("cron", "system"), ("human", "agent"), ("x", "ailang_instance")):
        f.q("INSERT INTO messages(thread_id, from_id, from_type) VALUES('h', ?, ?)", who, kind)
    f.equal(f.q("SELECT id FROM agents"), [("a",)], "only from_type agent creates an agent, and never human")
    f.insert("messages", thread_id="explicit NULL", from_id="b", from_type=None)
    f.equal(f.q("SELECT id FROM agents WHERE id='b'"), [("b",)], "from_type NULL is an agent")
    f.equal(f.last("threads")["created_by_type"], "agent", "created by an agent")
    before = len(f.log())
    f.insert("messages", thread_id="t", from_id="a")
    f.equal(f.log()[before:], [("messages", f.last("messages")["n"], "insert")], "later messages are one entry")
    f.q("UPDATE threads SET updated_at=1 WHERE id IN ('t', 'h')")
    f.insert("messages", thread_id="t", from_id="a", created_at=5)
    f.check(abs(f.one("SELECT updated_at FROM threads WHERE id='t'") - now()) < 60_000, "updated_at moves")
    f.equal(f.one("SELECT updated_at FROM threads WHERE id='h'"), 1, "updated_at of another thread does not")
    for column, value in (("title", "T"), ("status", "resolved"), ("context_json", "{}")):
        f.q("UPDATE threads SET updated_at=1 WHERE id='t'")
        f.q(f"UPDATE threads SET {column}=? WHERE id='t'", value)
        f.check(abs(f.one("SELECT updated_at FROM threads WHERE id='t'") - now()) < 60_000, f"updated_at after {column}")
        f.q("UPDATE threads SET updated_at=1 WHERE id='t'")
        f.q(f"UPDATE threads SET {column}=? WHERE id='t'", value)
        f.equal(f.one("SELECT updated_at FROM threads WHERE id='t'"), 1, f"updated_at after no change of {column}")
    last = f.one("SELECT last_seq FROM threads WHERE id='t'")
    for clause in CLAUSES:
        for value in ("last_seq+1", "last_seq-1", "0", "NULL", "99", "'x'", "x'00'", "1"):
            f.refused(f"last_seq={value} {clause}", f"UPDATE {clause} threads SET last_seq={value} WHERE id='t'")
        for value in (1, 7, "x", -1):
            refused_insert(f, f"last_seq={value}", "threads", clause, "threads.last_seq:", id="k", last_seq=value)
    f.equal(f.one("SELECT last_seq FROM threads WHERE id='t'"), last, "last_seq is unchanged")
    f.insert("threads", id="zero", last_seq=0)
    f.unchanged("an existing thread", "INSERT OR IGNORE INTO threads(id, title) VALUES('t', 'other')")
    f.sound()


def check_agents(f):
    """An agent's first row creates it; last_active_at changes at most once per second and is not logged."""
    for table, column in (("messages", "from_id"), ("inbox_messages", "from_agent"), ("telemetry", "agent_id"),
                          ("task_stream", "agent_id")):
        who = f"writer of {table}"
        f.insert(table, **{column: who})
        f.equal(f.log()[-1], (table, f.last(table)[BY_NAME[table].key], "insert"), f"{table}: the agent is logged before the row")
        n = f.one("SELECT n FROM agents WHERE id=?", who)
        f.check(("agents", n, "insert") in f.log(), f"{table}: the agent exists and is logged")
        for age, moves in ((0, False), (400, False), (5_000, True), (-5_000, True)):
            if table == "messages":
                f.insert("threads", id=f"{age}")
            then, length = now() - age, len(f.log())
            f.q("UPDATE agents SET last_active_at=? WHERE id=?", then, who)
            f.insert(table, **{column: who, "created_at": 77}, **({"thread_id": f"{age}"} if table == "messages" else {}))
            at = f.one("SELECT last_active_at FROM agents WHERE id=?", who)
            f.check(abs(at - now()) < 60_000 and at != then if moves else at == then, f"{table}: {age} ms ago, now {at - then}")
            f.equal(len(f.log()), length + 1, f"{table}: activity is not logged")
        f.insert(table, **{column: "human"})
        f.equal(f.one("SELECT count(*) FROM agents WHERE id='human'"), 0, f"{table}: human does not become an agent")
        if column == "agent_id":
            known = f.one("SELECT count(*) FROM agents")
            f.insert(table)
            f.insert(table, agent_id="")
            f.equal(f.one("SELECT count(*) FROM agents"), known, f"{table}: an empty name creates no agent")
    f.insert("inbox_messages", from_agent="sender", to_inbox="reader")
    f.equal(f.one("SELECT count(*) FROM agents WHERE id='reader'"), 0, "the recipient does not become an agent")
    for table in ("receipts", "subscriptions", "threads"):
        known = f.one("SELECT count(*) FROM agents")
        f.insert(table)
        f.equal(f.one("SELECT count(*) FROM agents"), known, f"{table}: creates no agent")
    before = f.log()
    f.q("INSERT INTO active VALUES('reading agent')")
    f.equal(f.log()[len(before):], [("agents", f.last("agents")["n"], "insert")], "active creates an agent")
    f.equal(f.last("agents")["id"], "reading agent", "its name")
    f.unchanged("active again", "INSERT INTO active VALUES('reading agent')")
    f.unchanged("active OR REPLACE", "INSERT OR REPLACE INTO active VALUES('reading agent')")
    f.unchanged("active: human", "INSERT INTO active VALUES('human')")
    f.unchanged("active: empty name", "INSERT INTO active VALUES('')")
    f.unchanged("active: NULL", "INSERT INTO active VALUES(NULL)")
    for clause in CLAUSES:  # existing agent and thread, with the conflict clause of the outer statement
        f.q("UPDATE agents SET last_active_at=1, label='mine' WHERE id='sender'")
        f.insert("inbox_messages", clause, from_agent="sender")
        f.insert("messages", clause, from_id="sender", thread_id="t")
        f.equal(f.q("SELECT label, last_active_at>1 FROM agents WHERE id='sender'"), [("mine", 1)], f"agent kept {clause}")
    f.sound()


def check_prune(f):
    """Rows can be deleted only by prune, except the newest; numbers continue after it."""
    for _ in range(4):
        for table in TABLES:
            f.insert(table.name)
    for _ in range(3):
        f.insert("messages", thread_id="t", from_id="a")
    tops = {t.name: f.one(f"SELECT max({t.key}) FROM {t.name}") for t in TABLES}
    last, head = f.one("SELECT last_seq FROM threads WHERE id='t'"), f.one("SELECT max(seq) FROM changes")
    for table in TABLES + [Table("changes", "seq", [])]:
        f.q("BEGIN IMMEDIATE")
        f.q("INSERT INTO hub VALUES('pruning', 1)")
        for sql in (f"DELETE FROM {table.name}",
                    f"DELETE FROM {table.name} WHERE {table.key}=(SELECT max({table.key}) FROM {table.name})"):
            f.refused(f"{sql} inside prune", sql, says=f"{table.name}:")
        f.q("ROLLBACK")
    f.q("BEGIN IMMEDIATE")
    f.q("INSERT INTO hub VALUES('pruning', 1)")
    f.q("INSERT INTO threads(id) VALUES('unused'), ('unused, newest')")
    f.refused("a thread that has had messages", "DELETE FROM threads WHERE id='t'", says="threads:")
    f.refused("the newest thread", "DELETE FROM threads WHERE id='unused, newest'", says="threads:")
    f.refused("UPDATE inside prune", "UPDATE messages SET content='x'")
    f.refused("REPLACE inside prune", "REPLACE INTO messages(n, thread_id, from_id) VALUES(1, 't', 'a')")
    f.refused("REPLACE of a log entry inside prune", "REPLACE INTO changes(seq, tbl) VALUES(1, 'x')")
    f.q("ROLLBACK")
    f.equal(f.q("SELECT 1 FROM hub WHERE key='pruning'"), [], "prune rolled back")
    f.refused("DELETE after a prune rolled back", "DELETE FROM messages WHERE n=1", says="messages:")
    f.q("INSERT INTO threads(id) VALUES('unused'), ('newest')")
    f.prune("DELETE FROM threads WHERE id='unused'")
    f.equal(f.q("SELECT id FROM threads WHERE id LIKE 'ne%'"), [("newest",)], "an unused thread can be deleted")
    head += 2
    f.prune(*(f"DELETE FROM {t.name} WHERE {t.key}<(SELECT max({t.key}) FROM {t.name})" for t in TABLES if t.name != "threads"),
            "DELETE FROM changes WHERE seq<(SELECT max(seq) FROM changes)")
    f.sound(pruned=True)
    f.refused("DELETE after prune", "DELETE FROM messages")
    for table in TABLES:
        if table.name != "threads":
            f.equal(f.one(f"SELECT count(*) FROM {table.name}"), 1, f"{table.name}: pruned to one")
            for key in (1, tops[table.name] - 1, tops[table.name] + 2):
                for clause in ("", "OR IGNORE", "OR REPLACE"):
                    refused_insert(f, f"the key {key} of a pruned row", table.name, clause, **{table.key: key, table.required[0]: "back"})
    for seq in (1, head - 1):
        f.refused(f"the number {seq} of a pruned entry", "INSERT INTO changes(seq, tbl) VALUES(?, 'x')", seq)
    for clause in ("", "OR IGNORE", "OR REPLACE"):
        refused_insert(f, "a pruned number", "messages", clause, thread_id="t", message_seq=1)
    f.insert("messages", thread_id="t", from_id="a")
    f.equal(f.last("messages")["message_seq"], last + 1, "message_seq continues")
    f.equal(f.last("messages")["n"], tops["messages"] + 1, "messages.n continues")
    f.check(f.one("SELECT max(seq) FROM changes") > head, "changes.seq continues")
    for table in TABLES:
        if table.name not in ("threads", "messages", "agents"):
            f.insert(table.name)
            f.equal(f.last(table.name)[table.key], tops[table.name] + 1, f"{table.name}.{table.key} continues")
    f.sound(pruned=True)


def check_returning(f):
    """RETURNING (SQLite 3.35) returns the row before the triggers; last_insert_rowid() is n."""
    cursor = f.db.execute("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')")
    f.equal(cursor.lastrowid, 1, "last_insert_rowid")
    f.equal(cursor.rowcount, 1, "changes()")
    if sqlite3.sqlite_version_info >= (3, 35):
        n, name, seq = f.q("INSERT INTO messages(thread_id, from_id) VALUES('t', 'a') RETURNING n, id, message_seq")[0]
        f.equal((n, seq), (2, None), "RETURNING has n but not message_seq")
        f.equal(f.one("SELECT message_seq FROM messages WHERE id=?", name), 2, "read back by id")
        for table in TABLES:
            got = f.q(insertion(table.name)[0] + f" RETURNING {table.key}",
                      *table.row().values())
            f.equal(got, [(f.last(table.name)[table.key],)], f"{table.name} RETURNING")
        f.equal(f.q("UPDATE messages SET business_state='done' WHERE n=1 RETURNING business_state"), [("done",)], "UPDATE")
    f.sound()


def check_attached(f):
    """A writer may attach the database to one of its own with tables and temporary tables of the same names."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "hub.db")
        shared = sqlite3.connect(path)
        f.db.backup(shared)
        shared.close()
        own = sqlite3.connect(":memory:", isolation_level=None)
        for name in ("threads", "messages", "agents", "changes", "hub", "active"):
            own.execute(f"CREATE TABLE {name}(n, id, key)")
            own.execute(f"CREATE TEMP TABLE {name}(n, id, key)")
        own.execute("ATTACH ? AS shared", (path,))
        for clause in CLAUSES:
            own.execute(f"INSERT {clause} INTO shared.messages(id, thread_id, from_id) VALUES(?, 't', 'a')", (f"id {clause}",))
        try:
            own.execute("REPLACE INTO shared.messages(id, thread_id, from_id) VALUES('id ', 't', 'a')")
            f.check(False, "REPLACE: not refused")
        except sqlite3.Error:
            f.check(True, "REPLACE")
        own.execute("UPDATE shared.messages SET business_state='done' WHERE message_seq=1")
        f.equal(own.execute("SELECT op, count(*) FROM shared.changes WHERE tbl='messages' GROUP BY op").fetchall(),
                [("insert", len(CLAUSES)), ("update", 1)], "change log of the attached database")
        for name in ("threads", "messages", "agents", "changes", "hub", "active"):
            for schema in ("main", "temp"):
                f.equal(own.execute(f"SELECT * FROM {schema}.{name}").fetchall(), [], f"not {schema}.{name}")
        own.close()


CHECKS = [value for name, value in list(globals().items()) if name.startswith("check_")]
# These are slow and depend little on the connection, so they run with two kinds of connection only.
SLOW = (check_text, check_numbers)


def run(schema, results, checks=CHECKS):
    for pragmas in CONNECTIONS:
        for check in checks:
            if check in SLOW and pragmas not in (CONNECTIONS[0], CONNECTIONS[-1]):
                continue
            where = f"{check.__name__[6:]} [{', '.join(pragmas[:2])}]"
            try:
                f = File(schema, pragmas, results, where)
            except sqlite3.Error as error:
                results.note(False, f"{where}: the schema cannot be loaded: {error}")
                continue
            try:
                check(f)
            except sqlite3.Error as error:
                results.note(False, f"{where}: stopped by {type(error).__name__}: {error}")
            finally:
                f.close()


def main(arguments):
    options = [a for a in arguments if a.startswith("-")]
    paths = [a for a in arguments if not a.startswith("-")]
    if len(paths) != 1 or options not in ([], ["--mutate"]):
        print(__doc__, file=sys.stderr)
        return 2
    with open(paths[0], encoding="utf-8") as file:
        schema = file.read()
    results = Results()
    if options:
        mutate(schema, results)
    else:
        run(schema, results)
    for name in results.failures[:40]:
        print("FAILED", name)
    print("SQLite", sqlite3.sqlite_version)
    print(f"{results.passed} passed, {len(results.failures)} failed")
    return 1 if results.failures else 0


# ---- --mutate: tests of the checks ---------------------------------------------------------------

# Parts whose removal has no effect that a writer can observe, and why the schema has them.
UNNOTICED = (
    r"_insert: n = NEW\.n AND",  # without it, the UPDATE that sets defaults scans all rows: only slower
    r"_insert: AND \(NEW\.\w+ IS NULL",  # without it, that UPDATE runs for every INSERT: only slower
    r"changes_exists: ",  # one half avoids a lookup; without the other half it refuses more than necessary
)


def operands(text):
    """Yields (start, end) of each operand of AND and OR in `text` with the word that joins it, at every depth."""
    masked = re.sub(r"'[^']*'|OR IGNORE", lambda m: "_" * len(m[0]), text)
    masked = re.sub(r"(BETWEEN [^()]*?(?:\([^()]*(?:\([^()]*\)[^()]*)*\)[^()]*?)*?)AND", r"\1___", masked)
    joints = {}
    depth, starts = 0, [0]
    for token in re.finditer(r"\(|\)|\b(?:AND|OR)\b|\b(?:WHERE|WHEN|CASE|THEN|BEGIN|SET|VALUES|SELECT|FROM|ORDER)\b|[,;]", masked):
        word, at = token[0], token.start()
        if word == "(":
            starts.append(token.end())
            depth += 1
        elif word == ")":
            joints.setdefault((depth, starts.pop()), []).append(at)
            depth -= 1
        elif word in ("AND", "OR"):
            joints.setdefault((depth, starts[-1]), []).append(at)
        else:  # an expression ends and the next begins
            joints.setdefault((depth, starts[-1]), []).append(at)
            starts[-1] = token.end()
    for (_, start), ends in joints.items():
        if len(ends) < 2:
            continue
        for index, end in enumerate(ends):
            if index == 0:  # the first operand includes the word after it
                word = re.match("AND|OR", masked[end:])
                yield start, end + len(word[0])
            else:
                yield ends[index - 1], end


def mutants(schema):
    """Yields (name, schema) for each part that can be removed or changed."""
    def cut(name, start, end, instead=""):
        return f"{name}: {' '.join(schema[start:end].split())[:110]}" + (f" -> {instead}" if instead else ""), \
            schema[:start] + instead + schema[end:]

    for m in re.finditer(r"CREATE TRIGGER (\w+).*?\nEND;\n", schema, re.S):
        trigger = m[1]
        yield cut("trigger", m.start(), m.end())
        for branch in re.finditer(r"    WHEN (?:.(?!\n    WHEN))*?\n      THEN RAISE\(.*?\)\n(?=    WHEN|  END;)", m[0], re.S):
            yield cut(trigger, m.start() + branch.start(), m.start() + branch.end())
        body = m.start() + m[0].index("BEGIN\n") + 6
        for statement in re.finditer(r"  (?:INSERT|UPDATE|SELECT).*?;\n", schema[body:m.end()], re.S):
            yield cut(trigger, body + statement.start(), body + statement.end(), "  SELECT 1;\n")
        for start, end in operands(m[0]):
            yield cut(trigger, m.start() + start, m.start() + end, " ")
        for assignment in re.finditer(r"(?<=SET )(\w+ = .*?,\n)(?=      )|,\n?\s+\w+ = coalesce\(.*?(?=,\n|\n   WHERE)", m[0], re.S):
            yield cut(trigger, m.start() + assignment.start(), m.start() + assignment.end())
        for old, new in (("1048576", "1048577"), ("1048576", "1048575"), ("1 AND", "0 AND"), ("-1e15", "-2e15"),
                         ("AND 1e15", "AND 2e15"), ("-1e15", "-9e14"), ("AND 1e15", "AND 9e14"), ("- 1000", "- 100000"),
                         ("1 + coalesce", "0 + coalesce"), ("last_seq + 1", "last_seq + 2"), ("'insert'", "'update'"),
                         ("'update'", "'insert'"), ("'human'", "'x'"), ("= 'agent'", "<> ''")):
            for place in re.finditer(re.escape(old), m[0]):
                line = schema.rfind("\n", 0, m.start() + place.start()) + 1
                name, text = cut(trigger, m.start() + place.start(), m.start() + place.end(), new)
                yield f"{name} in {schema[line:schema.index(chr(10), line)].strip()[:90]}", text
        for place in re.finditer(r"coalesce\((OLD\.\w+), (NEW\.\w+)\)", m[0]):
            for instead in (place[1], place[2]):
                yield cut(trigger, m.start() + place.start(), m.start() + place.end(), instead)
    for m in re.finditer(r"CREATE INDEX .*?;\n", schema):
        yield cut("index", m.start(), m.end())
    for m in re.finditer(r"CREATE TABLE (\w+) \(.*?\n\)", schema, re.S):
        for part in re.finditer(r"\bUNIQUE\b(?! *\()|,\s+UNIQUE\([^)]*\)|\bDEFAULT ('[^']*'|\d+|\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\))",
                                re.sub("--.*", lambda c: "-" * len(c[0]), m[0])):
            line = schema.rfind("\n", 0, m.start() + part.start()) + 1
            name, text = cut(m[1], m.start() + part.start(), m.start() + part.end())
            if part[0].startswith(",") and "--" in schema[line:m.start() + part.end()]:
                text = schema[:m.start() + part.start()] + schema[m.start() + part.end():]
            yield f"{name} of {schema[line:].split()[0]}", text


def loads(schema):
    try:
        sqlite3.connect(":memory:").executescript(schema)
    except sqlite3.Error:
        return False
    return True


# Checks that treat each table separately. They run first on the changed table alone, where they fail soonest.
PER_TABLE = (check_defaults, check_required, check_text, check_numbers, check_state, check_frozen, check_duplicates,
         check_new_under_every_clause, check_keys, check_delete)


def run_on_table(schema, results, table):
    every = TABLES[:]
    TABLES[:] = [BY_NAME[table]]
    try:
        run(schema, results, PER_TABLE)
    finally:
        TABLES[:] = every


def survives(mutant):
    """Returns the name of the mutant if no check fails."""
    name, schema = mutant
    results = Results(stop_early=True)
    changed = [t.name for t in TABLES if name.removeprefix("trigger: CREATE TRIGGER ").startswith(t.name)]
    try:
        if changed:
            run_on_table(schema, results, max(changed, key=len))
        run(schema, results)
    except Stop:
        return None
    return name


def mutate(schema, results):
    run(schema, results)
    for table in TABLES[:]:
        run_on_table(schema, results, table.name)
    every = [mutant for mutant in mutants(schema)
             if not any(re.search(pattern, mutant[0]) for pattern in UNNOTICED) and loads(mutant[1])]
    with multiprocessing.Pool() as pool:
        for done, ((name, _), survivor) in enumerate(zip(every, pool.imap(survives, every, chunksize=4))):
            if done % 50 == 0:
                print(f"{done} of {len(every)}", file=sys.stderr)
            results.note(survivor is None, f"no check fails without: {name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
