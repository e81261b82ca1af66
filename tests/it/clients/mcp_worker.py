"""An agent that works through a shared inbox with the official Python client, until a file says stop.

Arguments: the program, the file, its name, the lease in seconds, the file that says stop, its log. What it has handled it
writes into the log before it acknowledges: whoever kills it in between sees work that is done twice.
"""

import asyncio
import os
import sys

from mcp import Client, StdioServerParameters

PROGRAM, FILE, NAME, LEASE, STOP, LOG = sys.argv[1:7]


async def main():
    env = {**os.environ, "AGENTHUB_AGENT": NAME, "AGENTHUB_DB": FILE}
    async with Client(StdioServerParameters(command=PROGRAM, args=["mcp"], env=env), mode="auto") as client:
        while not os.path.exists(STOP):
            arguments = {"inbox": "jobs", "claim_seconds": int(LEASE), "limit": 10, "wait_seconds": 1}
            mail = (await client.call_tool("check_inbox", arguments)).structured_content["mail"]
            for one in mail:
                with open(LOG, "a") as log:
                    log.write(one["id"] + "\n")
            if mail:
                await asyncio.sleep(0.05)  # the work takes its time: whoever is killed is killed at work
                result = await client.call_tool("ack_message", {"ids": [one["id"] for one in mail]})
                assert not result.is_error, result


asyncio.run(main())
