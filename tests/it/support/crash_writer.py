"""A writer for the tests of crash points: writes a few rows and prints each once it is stored. Checkpoints every other row.

usage: crash_writer.py DB NAME ROWS synchronous
"""

import os
import sqlite3
import sys

db, name, rows, synchronous = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
conn = sqlite3.connect(db, timeout=5, isolation_level=None)
conn.execute(f"PRAGMA synchronous={synchronous}")
conn.execute("PRAGMA wal_autocheckpoint=8")
for i in range(rows):
    conn.execute("INSERT INTO messages(id, thread_id, from_id) VALUES(?, 't', ?)", (f"{name}-{i}", name))
    os.write(1, f"{i}\n".encode())
