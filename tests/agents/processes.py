"""Processes that the lab starts, and conditions it waits for. Every process is ended by its id."""

import os
import signal
import subprocess
import time

# A slow, busy machine must not fail a scenario: nothing that works waits this long.
LIMIT = float(os.environ.get("LAB_LIMIT", 90))


class Failed(AssertionError):
    """A scenario's expectation does not hold."""


def check(condition, message):
    if not condition:
        raise Failed(message() if callable(message) else message)


def equal(got, expected, what):
    check(got == expected, lambda: f"{what}: got {got!r}, expected {expected!r}")


def until(what, condition, seconds=LIMIT):
    """Waits until `condition()` is true and returns it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"timed out after {seconds:.0f} s: {what}")
        time.sleep(0.05)


class Process:
    """A program with its output in memory, in a process session of its own."""

    def __init__(self, command, cwd, environment, stdin=None):
        self.command = command
        self.popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.stdin = stdin

    def wait(self, seconds=LIMIT):
        """Returns the exit code, stdout and stderr."""
        try:
            out, err = self.popen.communicate(self.stdin, seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            out, err = self.popen.communicate()
            raise Failed(f"timed out after {seconds:.0f} s: {self.command}: {out[-2000:]} {err[-2000:]}") from None
        return self.popen.returncode, out, err

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


def of_home(home):
    """Returns the ids and command lines of the processes whose HOME is this folder. Only Linux can tell."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                is_ours = f"HOME={home}".encode() in file.read().split(b"\0")
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if is_ours and command:
            found[int(pid)] = command
    return found


def parents(pid):
    """Returns the ids of a process's ancestors, the nearest first."""
    while pid > 1:
        try:
            with open(f"/proc/{pid}/stat") as file:
                pid = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return
        yield pid


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
