"""A terminal: a program runs in it, the scenario types and reads what is shown.

There is no model of the screen. Texts are compared without escape sequences and white space, because a program may move
the cursor instead of printing a space.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

from processes import LIMIT, Failed, until

_ESCAPES = re.compile(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[P_^X][^\x1b]*\x1b\\|\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]")
# What a terminal answers to a program that asks for its properties.
_ANSWERS = [
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[?u", b"\x1b[?0u"),
    (b"\x1b]10;?", b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    (b"\x1b]11;?", b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
]
# Makes standard input the controlling terminal, then becomes the program.
_BEGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvpe(sys.argv[1], sys.argv[1:], os.environ)"

ENTER, ESCAPE, DOWN, CTRL_C, CTRL_D = "\r", "\x1b", "\x1b[B", "\x03", "\x04"


class Terminal:
    def __init__(self, command, cwd, environment):
        self.fd, inner = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.bytes = b""
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
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                part = os.read(self.fd, 65536)
            except OSError:  # The program has ended, or the terminal is closed.
                return
            if not part:
                return
            self.bytes += part
            for question, answer in _ANSWERS:
                if question in part:
                    self.type(answer.decode())

    def type(self, text):
        try:
            os.write(self.fd, text.encode())
        except OSError:
            pass  # As above.

    def mark(self):
        """Returns a position in the output, for `shows`."""
        return len(self.bytes)

    def text(self, since=0):
        return _ESCAPES.sub(b" ", self.bytes[since:]).decode(errors="replace")

    def shows(self, text, since=0):
        return squeezed(text) in squeezed(self.text(since))

    def wait_for(self, *texts, since=0, seconds=LIMIT):
        """Waits until one of the texts is shown, and returns it."""
        try:
            return until(
                f"the terminal to show {texts}",
                lambda: next((text for text in texts if self.shows(text, since)), None),
                seconds,
            )
        except Failed as failure:
            raise Failed(f"{failure}; it shows: {' '.join(self.text(since).split())[-1500:]}") from None

    def close(self):
        """Closes the terminal, as its window does."""
        if self.fd >= 0:
            # Another thread reads from it: the hangup ends that.
            fd, self.fd = self.fd, -1
            os.close(fd)

    def wait_for_exit(self, seconds=LIMIT):
        until("the program in the terminal to exit", lambda: self.popen.poll() is not None, seconds)
        return self.popen.returncode

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self.close()


def squeezed(text):
    return re.sub(r"\s+", "", text)
