"""agenthub itself: its commands, as a program and as the person, and the rows of its database."""

import json
import sqlite3

from processes import Failed, Process, until
from terminal import Terminal


class Hub:
    """The database of one home, and a running `agenthub serve` if the scenario starts one."""

    def __init__(self, cwd, environment):
        self.cwd = cwd
        self.environment = environment
        self.serving = None
        self.path = self.run("path").strip()

    def run(self, *arguments):
        """Runs a command outside any agent and returns its output."""
        code, out, err = Process(["agenthub", *arguments], self.cwd, self.environment).wait()
        if code:
            raise Failed(f"agenthub {arguments} exits with {code}: {out} {err}")
        return out

    def as_person_who_agrees(self, *arguments):
        """As `as_person`, with yes to the command's question."""
        return self.as_person(*arguments, question="[y/N]")

    def as_person(self, *arguments, question=None):
        """Runs a command in a terminal of its own, as the person does."""
        terminal = Terminal(["agenthub", *arguments], self.cwd, self.environment)
        try:
            if question:
                terminal.wait_for(question)
                terminal.type("y\n")
            if code := terminal.wait_for_exit():
                raise Failed(f"agenthub {arguments} exits with {code}: {terminal.text()}")
            terminal.reader.join(5)
            return terminal.text()
        finally:
            terminal.end()

    def serve(self):
        command = ["agenthub", "serve", "--listen", "127.0.0.1:0", "--json"]
        self.serving = Process(command, self.cwd, self.environment)
        line = self.serving.popen.stdout.readline()
        return json.loads(line)["url"]

    def close(self):
        if self.serving:
            self.serving.popen.terminate()
            self.serving.wait(20)
            self.serving = None

    def rows(self, sql, *values):
        """Returns rows as tuples. The connection is read-only and closed at once."""
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def execute(self, sql):
        """Writes as an agent's program does."""
        connection = sqlite3.connect(self.path, timeout=20)
        try:
            with connection:
                connection.execute(sql)
        finally:
            connection.close()

    def value(self, sql, *values):
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    # What scenarios ask for.

    def agent(self):
        """Waits for the only agent of a session and returns its name."""
        sql = "SELECT id FROM agents WHERE id NOT IN ('human', 'tester', 'all')"
        return until("an agent", lambda: self.value(sql))

    def send(self, to, text, sender="tester", priority="info"):
        """Sends mail from an agent and returns its number."""
        self.run("send", to, text, "--from", sender, "--new", "--priority", priority)
        return self.value("SELECT max(n) FROM inbox_messages")

    def receipts(self, number):
        """Returns the states of the receipts of a mail, and how each came."""
        sql = """SELECT state, via FROM receipts JOIN inbox_messages USING (message_id)
                 WHERE inbox_messages.n = ? ORDER BY receipts.n"""
        return dict(self.rows(sql, number))

    def wait_for_receipt(self, number, state):
        return until(f"mail {number} to be {state}", lambda: state in self.receipts(number))

    def task(self, like="%"):
        """Returns the newest task's id."""
        return self.value("SELECT task_id FROM task_stream WHERE task_id LIKE ? ORDER BY id DESC LIMIT 1", like)

    def status(self, task):
        sql = "SELECT status FROM task_stream WHERE task_id = ? AND stream_type = 'status' ORDER BY id DESC LIMIT 1"
        return self.value(sql, task)

    def events(self, kind, task):
        """Returns text, tool name, output and error of a task's rows of one kind."""
        sql = """SELECT coalesce(text, ''), coalesce(tool_name, ''), coalesce(tool_output, ''), coalesce(error_msg, '')
                 FROM task_stream WHERE stream_type = ? AND task_id = ? ORDER BY id"""
        return self.rows(sql, kind, task)

    def totals(self, task):
        """Returns the tokens of a task: all that were sent, those from the cache, those that were written."""
        sql = """SELECT tokens_in, tokens_cached, tokens_out FROM telemetry
                 WHERE instance_id = ? ORDER BY id DESC LIMIT 1"""
        rows = self.rows(sql, task)
        return rows[0] if rows else None
