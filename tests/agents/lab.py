"""A lab: one empty home with one program, its stand-in model and a database. Each scenario gets a new one."""

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import processes
import recordings
from hub import Hub
from processes import Failed, Process, until
from programs import node
from scripts import Gate, say
from terminal import ENTER, ESCAPE, Terminal

# Times that a program with a known fault at its start is started.
MAX_STARTS = 4


@dataclass(frozen=True)
class Run:
    """A finished headless run."""

    code: int
    out: str
    err: str

    def lines(self):
        """Returns the program's JSON lines."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


class Lab:
    def __init__(self, program, agenthub, install, database=None):
        self.program, self.agenthub, self.install, self.database = program, agenthub, install, database
        # Below /tmp, because the path of a Unix socket has at most 107 bytes.
        self.home = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp")).resolve()
        self.work = self.home / "work"
        self.model = program.server()
        self.terminals = []
        self.processes = []
        self.hub = None
        self.is_connected = self.has_trust = False
        self.notes = []  # printed with the scenario's result
        self.options = None
        try:
            self._create()
        except BaseException:
            self.close()
            raise

    def _create(self):
        for folder in ("work", "bin", "tmp"):
            (self.home / folder).mkdir()
        links = {"agenthub": self.agenthub, self.program.binary: self.program.executable(), "node": node(self.install)}
        for name, target in links.items():
            if target:
                (self.home / "bin" / name).symlink_to(target)
        # A login shell, such as Codex starts, sets PATH anew.
        (self.home / ".profile").write_text('PATH="$HOME/bin:$PATH"\n')
        self.program.prepare(self.home, self.work, self.model.url)
        self.hub = Hub(self.work, self.environment(for_program=False))

    def environment(self, for_program=True):
        """Returns an environment made from nothing. Connections to other hosts end at a closed port."""
        nowhere = "http://127.0.0.1:9"
        local = "127.0.0.1,localhost"
        variables = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(self.home / "tmp"),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "USER": "tester",
        }
        if self.database:
            variables["AGENTHUB_DB"] = self.database
        if for_program:
            variables |= {"HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "NO_PROXY": local, "no_proxy": local}
            variables |= {"DO_NOT_TRACK": "1", **self.program.environment(self.model.url)}
        return variables

    def note(self, text):
        self.notes.append(text)

    def record_hooks(self):
        """Records the inputs and times of the hooks from now on."""
        recorder = self.home / "bin/recorder"
        (self.home / "hooks").mkdir()
        recorder.write_text(recordings.RECORDER.format(home=self.home))
        recorder.chmod(0o755)
        names = (".*/settings.json", ".codex/hooks.json", ".*/hooks/agenthub.json", ".kimi-code/config.toml")
        names += (".config/opencode/plugin/agenthub.js",)
        forms = ("{} hook", '"{}","hook"')  # a command line, or its words in JSON
        for file in (file for name in names for file in self.home.glob(name)):
            text = file.read_text()
            for form in forms:
                text = text.replace(form.format(self.home / "bin/agenthub"), form.format(recorder))
            file.write_text(text)

    def hook_inputs(self):
        return [json.loads(file.read_text()) for file in sorted((self.home / "hooks").glob("*.json"))]

    def hook_times(self):
        """Returns the times of agenthub's hooks in milliseconds."""
        times = self.home / "hooks/times"
        return [int(line) / 1000 for line in times.read_text().split()] if times.exists() else []

    def init(self):
        """Connects the program with agenthub."""
        self.is_connected = True
        return self.hub.run("init", "--yes", "--only", self.program.tool)

    def start(self, *command, stdin=None):
        process = Process(list(command), self.work, self.environment(), stdin)
        self.processes.append(process)
        return process

    def command(self, *command):
        """Runs the program with these arguments to its end."""
        return Run(*self.start(*command).wait())

    def record(self, prompt, task="t", **how):
        """Runs the program headless under `agenthub run`."""
        return Run(*self.begin_recording(prompt, task, **how).wait())

    def begin_recording(self, prompt, task="t", name=None, **how):
        speaker = ["--as", name] if name else []
        return self.start("agenthub", "run", *speaker, "--task", task, "--", *self.program.headless(prompt, **how))

    def headless(self, prompt, **how):
        """Runs the program headless, without agenthub around it."""
        return self.command(*self.program.headless(prompt, **how))

    def open(self, prompt=None, continues=False):
        """Starts the program in a terminal and waits until it takes input."""
        for _ in range(MAX_STARTS):
            session = Session(Terminal(self.program.interactive(prompt, continues), self.work, self.environment()), self)
            self.terminals.append(session.terminal)
            try:
                session.answer_dialogs()
                return session
            except Failed:
                fault = self.program.fault_at_start
                if not (fault and session.terminal.has_ended() and session.terminal.shown([fault])):
                    raise
        raise Failed(f"the program has ended {MAX_STARTS} times: {fault}")

    @contextmanager
    def beside(self, program):
        """Opens a lab of another program that uses this one's database."""
        other = Lab(program(self.install), self.agenthub, self.install, database=self.hub.path)
        try:
            other.init()
            yield other
        finally:
            other.close()

    def processes_of(self, *words):
        """Returns the processes of this home whose command line contains all the words."""
        running = processes.of_home(self.home)
        return [pid for pid, command in running.items() if all(word in command for word in words)]

    def close(self):
        """Ends everything that this lab has started."""
        for process in self.processes:
            process.kill()
        for terminal in self.terminals:
            terminal.end()
        self.model.close()
        if self.hub:
            self.hub.close()
        for _ in range(20):
            left = processes.of_home(self.home)
            for pid in left:
                processes.end(pid)
            if not left:
                break
        shutil.rmtree(self.home, ignore_errors=True)


class Session:
    """A program in a terminal."""

    def __init__(self, terminal, lab):
        self.terminal = terminal
        self.lab = lab
        self.last_answer = None

    def answer_dialogs(self):
        """Trusts agenthub's hooks, if the program asks for it at its first start."""
        lab = self.lab
        if lab.program.dialog and lab.is_connected and not lab.has_trust:
            shown, choice, chosen = lab.program.dialog
            self.terminal.wait_for(shown)
            self.terminal.press(choice, lambda: self.terminal.shown([chosen]))
            self.terminal.type(ENTER)
            self.terminal.wait_until_gone(shown)
            lab.has_trust = True
        self.terminal.wait_for(*lab.program.ready)

    def say(self, text, done):
        """Types a line and sends it, until `done()`. A program may not take keys while it is busy."""
        self.terminal.press(text, lambda: self.terminal.shown([text]))
        self.terminal.press(ENTER, done)

    def ask(self, prompt, *answers):
        """Types a prompt, and waits for the model's last answer and the end of the turn."""
        program, terminal = self.lab.program, self.terminal
        self.lab.model.answers(*answers)
        turns = terminal.count(program.turn_ended)
        self.say(prompt, lambda: terminal.shown([answers[-1].text]))
        self.last_answer = answers[-1].text
        terminal.wait_until_gone(program.busy)
        until("the end of the turn", lambda: not program.turn_ended or terminal.count(program.turn_ended) > turns)
        until("the end of the turn in the program's record", program.is_idle)

    def interrupt(self):
        """Sends a prompt, and interrupts the model in the middle of its answer."""
        pause = Gate()
        # A program may show complete lines only.
        self.lab.model.answers(say("I shall wait.\n\nIt takes long.", pause=pause))
        self.say("Wait please", pause.reached.is_set)
        self.terminal.wait_for("I shall wait.")
        until("the interruption", self._escape)
        pause.open()
        if self.lab.program.erase:
            self.terminal.press(self.lab.program.erase, lambda: self.terminal.shown(self.lab.program.ready))

    def _escape(self):
        """Presses the escape key, a second time if the program asks for it. Returns whether the turn is interrupted."""
        terminal, program = self.terminal, self.lab.program

        def is_interrupted():
            return terminal.shown([program.interrupted])

        if not program.interrupts_again:
            terminal.press(ESCAPE, is_interrupted)
            return True
        terminal.press(ESCAPE, lambda: is_interrupted() or terminal.shown([program.interrupts_again]))
        terminal.type(ESCAPE)
        try:
            terminal.wait_for(program.interrupted, seconds=2)
        except Failed:
            return False  # The second key came too late.
        return True

    def compact(self):
        self.say(self.lab.program.compact, lambda: self.terminal.shown([self.lab.program.compacted]))

    def clear(self):
        """Begins a new conversation, which removes the model's last answer from the screen."""
        self.say(self.lab.program.clear, lambda: not self.terminal.shown([self.last_answer]))

    def leave(self):
        """Ends the program with its own command."""
        self.say(self.lab.program.leave, lambda: self.terminal.popen.poll() is not None)
