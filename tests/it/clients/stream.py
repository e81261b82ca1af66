"""A client of the stream of all messages that uses the library `websockets` and `frames=array`. It can be killed at any moment:
after a restart it resumes where its log ends.

usage: stream.py ADDRESS TOKEN LOG

ADDRESS is host:port. LOG gets one line "POS ID" per message. A batch has only the position of its last message, so for its
other messages POS is "-". A line "LOST" means that the hub no longer has the position; the client then starts from the
beginning.
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
    """Returns the last position in the log. Truncates an incomplete batch or line after it; the hub sends that batch again."""
    with open(path, "rb") as f:
        lines = f.read().split(b"\n")[:-1]
    while lines and lines[-1].startswith(b"- "):
        lines.pop()
    os.ftruncate(log, sum(len(line) + 1 for line in lines))
    return "0" if not lines or lines[-1] == b"LOST" else lines[-1].split()[0].decode()


def note(lines):
    """Appends in one write call, so that a kill leaves either all lines or a part that last_position truncates."""
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
                lines += [f"- {id}" for id in ids[:-1]] + [f"{event['pos']} {ids[-1]}"]
            elif event["type"] == "error" and data["code"] == "POSITION_LOST":
                lines.append("LOST")
        if lines:
            note(lines)


while True:
    url = f"ws://{address}/ws?streams=messages&frames=array&since={last_position()}"
    try:
        with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, max_size=None) as socket:
            receive(socket)
    except (OSError, EOFError, ConnectionClosed, InvalidHandshake, TimeoutError):
        pass
    # The hub is down or the connection has ended: reconnect.
    time.sleep(0.02)
