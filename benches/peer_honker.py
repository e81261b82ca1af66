"""Measures honker: prints the microseconds from each commit of one process to its notification in another.

usage: peer_honker.py DATABASE RATE ROWS
"""

import asyncio
import subprocess
import sys
import time

import honker

CHANNEL = "bench"
TEXT = "All 214 tests pass on the branch now; the flaky one waited for a file that another test removed."


def write(path, rate, rows):
    """Prints the time of each commit, on the clock that all processes share."""
    database = honker.open(path)
    start = time.monotonic() + 0.05
    times = []
    for i in range(rows):
        while (left := start + i / rate - time.monotonic()) > 0:
            time.sleep(max(0, left - 0.0002))
        with database.transaction() as transaction:
            transaction.notify(CHANNEL, {"i": i, "text": TEXT})
        times.append(time.monotonic_ns())
    print(*times, sep="\n")


async def listen(path, rate, rows):
    database = honker.open(path)
    notifications = database.listen(CHANNEL)
    writer = subprocess.Popen(
        [sys.executable, __file__, path, str(rate), str(rows), "write"], stdout=subprocess.PIPE, text=True
    )
    seen = {}
    async for notification in notifications:
        seen[notification.payload["i"]] = time.monotonic_ns()
        if len(seen) == rows:
            break
    committed = [int(line) for line in writer.communicate()[0].split()]
    for i, time_committed in enumerate(committed):
        print((seen[i] - time_committed) // 1000)


if __name__ == "__main__":
    path, rate, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if sys.argv[4:] == ["write"]:
        write(path, rate, rows)
    else:
        asyncio.run(listen(path, rate, rows))
