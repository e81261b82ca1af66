"""A client of the stream of all messages, with array frames, on the library `websockets`. It can be killed at any moment and
resumes where its log ends when it is started again.

usage: stream.py ADDRESS TOKEN LOG

ADDRESS is host:port. LOG gets a line "POS ID" for each message. A batch has only the position of its last message; the lines
of its other messages have "-" as POS. A line "LOST" means POSITION_LOST: the client starts again from position 0.
"""

import json
import os
import sys
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

address, token, path = sys.argv[1:4]
log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)


def last_position():
    """The last complete position in the log. Removes incomplete lines after it; their messages are sent again."""
    with open(path, "rb") as f:
        lines = f.read().split(b"\n")[:-1]
    while lines and lines[-1].startswith(b"- "):
        lines.pop()
    os.ftruncate(log, sum(len(line) + 1 for line in lines))
    return "0" if not lines or lines[-1] == b"LOST" else lines[-1].split()[0].decode()


def append(lines):
    """Appends with one write(): a kill leaves all lines, or a part that last_position() removes."""
    os.write(log, "".join(line + "\n" for line in lines).encode())


def receive(socket):
    for text in socket:
        frame = json.loads(text)
        lines = []
        for event in frame if isinstance(frame, list) else [frame]:
            data = event.get("data", {})
            if event["type"] == "message":
                lines.append(f"{event['pos']} {data['id']}")
            elif event["type"] == "batch":
                ids = [message["id"] for message in data["messages"]]
                lines += [f"- {one}" for one in ids[:-1]] + [f"{event['pos']} {ids[-1]}"]
            elif event["type"] == "error" and data["code"] == "POSITION_LOST":
                lines.append("LOST")
        if lines:
            append(lines)


while True:
    url = f"ws://{address}/ws?streams=messages&frames=array&since={last_position()}"
    try:
        with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, max_size=None) as socket:
            receive(socket)
    except (OSError, EOFError, ConnectionClosed, InvalidHandshake, TimeoutError):
        pass
    # The hub is restarting.
    time.sleep(0.02)
