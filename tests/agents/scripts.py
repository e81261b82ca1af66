"""What a stand-in for a model says: a script is a list of steps, one for each request of the program.

A step names tools in the lab's words (`shell`, `hub`); the server of each vendor translates them into the vendor's.
"""

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer. `fresh` were sent and not in the vendor's cache, `cached` were read from it."""

    fresh: int = 600
    cached: int = 400
    written: int = 40
    thought: int = 10


@dataclass(frozen=True)
class Call:
    """A call of a tool: kind "shell" (a command), "hub" (a tool of agenthub) or "vendor" (the vendor's own name)."""

    kind: str
    name: str
    arguments: dict


@dataclass(frozen=True)
class Step:
    """The answer to one request: an HTTP error, or thoughts, text and calls."""

    text: str = ""
    calls: tuple = ()
    thought: str = ""
    status: int = 0
    retry_after: int | None = None
    is_cut: bool = False
    usage: Usage = field(default_factory=Usage)
    gate: "Gate | None" = None  # holds the whole answer back
    pause: "Gate | None" = None  # holds back what follows the text


class Gate:
    """Holds an answer back until the scenario opens it. `reached` is set once the program waits for the answer."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self):
        self.reached.set()
        self.opened.wait(300)

    def open(self):
        self.opened.set()


def say(text, *calls, **more):
    return Step(text=text, calls=calls, **more)


def use(*calls, **more):
    return Step(calls=calls, **more)


def error(status, retry_after=None):
    return Step(status=status, retry_after=retry_after)


def cut(text):
    """The connection is closed in the middle of the answer."""
    return Step(text=text, is_cut=True)


def shell(command):
    return Call("shell", "", {"command": command})


def hub(tool, **arguments):
    return Call("hub", tool, arguments)


def vendor(tool, **arguments):
    return Call("vendor", tool, arguments)
