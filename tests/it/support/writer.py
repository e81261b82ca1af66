"""Writes messages at a constant rate and prints the id of each row once it is stored.

usage: writer.py DB NAME THREADS SECONDS RATE [synchronous]

THREADS is a comma-separated list; each row goes to one of them at random (the name is the seed). A row whose id was
printed must never be lost. The first line is "SQLite" and the version of the library.
"""

import os
import random
import sqlite3
import sys
import time

db, name, threads, seconds, rate = sys.argv[1], sys.argv[2], sys.argv[3].split(","), float(sys.argv[4]), float(sys.argv[5])
conn = sqlite3.connect(db, timeout=30, isolation_level=None)
conn.execute("PRAGMA synchronous=" + (sys.argv[6] if len(sys.argv) > 6 else "NORMAL"))

os.write(1, f"SQLite {sqlite3.sqlite_version}\n".encode())
random.seed(name)
started = time.monotonic()
sent = 0
while (now := time.monotonic() - started) < seconds:
    # Writes the rows due by now, so that pauses of a busy machine are made up for.
    while sent < now * rate:
        sent += 1
        row = f"{name}-{sent}"
        conn.execute(
            "INSERT INTO messages(id, thread_id, from_id, content) VALUES(?, ?, ?, ?)",
            (row, random.choice(threads), name, f"row {sent} of {name}"),
        )
        # One write() call, so that a kill leaves a complete line or none.
        os.write(1, f"{row}\n".encode())
    time.sleep(0.002)
