"""A worker that handles messages of a shared inbox with the official Python MCP client until the stop file exists.

Arguments: the program, the database, its name, the lease in seconds, the stop file, its log. It logs a message before it
acknowledges it, so a kill in between shows as work done twice.
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
                await asyncio.sleep(0.05)  # the work takes time, so that a kill happens during it
                result = await client.call_tool("ack_message", {"ids": [one["id"] for one in mail]})
                assert not result.is_error, result


asyncio.run(main())
