"""Runs a program as the person does: in a terminal. Arguments: the program and its arguments.

TERMINAL_INPUT is what the person types. Prints what the terminal shows and exits with the program's exit code. The program must not run in an agent's shell:
agenthub looks for one in the environments of this process and its ancestors.
"""

import os
import pty
import sys


def run(arguments, environment=os.environ):
    """Returns the exit code and what the terminal shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(arguments[0], arguments, environment)
    os.write(terminal, environment.get("TERMINAL_INPUT", "").encode())
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # The program has ended.
            break
        if not part:
            break
        shown += part
    _, status = os.waitpid(pid, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status), shown.replace(b"\r\n", b"\n")


if __name__ == "__main__":
    code, shown = run(sys.argv[1:])
    sys.stdout.buffer.write(shown)
    sys.exit(code)
