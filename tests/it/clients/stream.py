"""A client of the whole stream, in arrays, on the library `websockets`. It may be killed at any moment: started again, it goes on
where its log ends.

usage: stream.py ADDRESS TOKEN LOG

ADDRESS is host:port. LOG gets a line a message, "POS ID"; "-" stands for POS within a batch, which has one position, that
of its last message. A line "LOST" says that the hub knows the position no more, and that everything begins anew.
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
    """Where the log ends. What was cut off behind it is taken away, and comes again."""
    with open(path, "rb") as f:
        lines = f.read().split(b"\n")[:-1]
    while lines and lines[-1].startswith(b"- "):
        lines.pop()
    os.ftruncate(log, sum(len(line) + 1 for line in lines))
    return "0" if not lines or lines[-1] == b"LOST" else lines[-1].split()[0].decode()


def note(lines):
    """In one write, so that a kill leaves all of it or a part that last_position takes away."""
    os.write(log, "".join(line + "\n" for line in lines).encode())


def hear(socket):
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
            note(lines)


while True:
    url = f"ws://{address}/ws?streams=messages&frames=array&since={last_position()}"
    try:
        with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, max_size=None) as socket:
            hear(socket)
    except (OSError, EOFError, ConnectionClosed, InvalidHandshake, TimeoutError):
        pass
    # The hub is down. It comes back.
    time.sleep(0.02)
