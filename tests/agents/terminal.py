"""A terminal: a program runs in it, the scenario types and reads what is shown.

Texts are compared without white space, because a program may wrap a line anywhere.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time

from processes import LIMIT, Failed, until
from screen import Screen

ROWS, COLUMNS = 50, 160
# What a terminal answers to a program that asks for its properties.
_ANSWERS = [
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[?u", b"\x1b[?0u"),
    (b"\x1b]10;?", b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    (b"\x1b]11;?", b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
]
# Makes standard input the controlling terminal, then becomes the program.
_BEGIN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvpe(sys.argv[1], sys.argv[1:], os.environ)
"""

ENTER, ESCAPE = "\r", "\x1b"


class Terminal:
    def __init__(self, command, cwd, environment):
        self.fd, inner = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.screen = Screen(ROWS, COLUMNS)
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, *command],
            cwd=cwd,
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self.lock = threading.Lock()
        self.is_closing = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while not self.is_closing.is_set():
            # A terminal that a thread reads from is not closed, so no read waits for long.
            if not select.select([self.fd], [], [], 0.05)[0]:
                continue
            try:
                part = os.read(self.fd, 65536)
            except OSError:  # The program has ended.
                return
            if not part:
                return
            with self.lock:
                self.screen.feed(decoder.decode(part))
            for question, answer in _ANSWERS:
                if question in part:
                    self.type(answer.decode())

    def type(self, text):
        try:
            os.write(self.fd, text.encode())
        except OSError:
            pass  # The program has ended.

    def press(self, key, done):
        """Presses a key until `done()`: a program may not take keys yet."""
        end = time.monotonic() + LIMIT
        while not done():
            self.type(key)
            try:
                self._wait(f"the effect of the key {key!r}", done, 5)
            except Failed:
                if time.monotonic() > end or self.has_ended():
                    raise

    def has_ended(self):
        return self.popen.poll() is not None

    def text(self):
        with self.lock:
            return self.screen.text()

    def shown(self, texts):
        """Returns the first of the texts that the screen shows."""
        screen = squeezed(self.text())
        return next((text for text in texts if squeezed(text) in screen), None)

    def count(self, text):
        return squeezed(self.text()).count(squeezed(text))

    def wait_for(self, *texts, seconds=LIMIT):
        """Waits until one of the texts is shown, and returns it."""
        return self._wait(f"the terminal to show {texts}", lambda: self.shown(texts), seconds)

    def wait_until_gone(self, text, seconds=LIMIT):
        self._wait(f"the terminal to remove {text!r}", lambda: not self.shown([text]), seconds)

    def _wait(self, what, condition, seconds):
        try:
            return until(what, lambda: condition() or self._at_its_end(what, condition), seconds)
        except Failed as failure:
            lines = "\n".join(line for line in self.text().splitlines() if line.strip())
            raise Failed(f"{failure}; it shows:\n{lines}") from None

    def _at_its_end(self, what, condition):
        """Once the program has ended, and all that it has shown is read, nothing can change any more."""
        if not self.has_ended():
            return None
        self.reader.join(5)
        met = condition()
        if not met:
            raise Failed(f"the program has ended: {what}")
        return met

    def wait_for_exit(self, seconds=LIMIT):
        self._wait("the program to exit", self.has_ended, seconds)
        return self.popen.returncode

    def close(self):
        """Closes the terminal, as its window does: the program gets a hangup."""
        if not self.is_closing.is_set():
            self.is_closing.set()
            self.reader.join()
            os.close(self.fd)

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self.close()


def squeezed(text):
    return re.sub(r"\s+", "", text)
