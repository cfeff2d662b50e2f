"""python -m dev.testing.load PORT PATH...: request these pages in turn until standard input ends.

Each caller keeps one connection and sends on a fixed schedule, so the delay of a slow server counts in full. Prints a
JSON list of [due time, seconds until the response, status (0: no response), X-Cache]. Times are the machine's
monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

CALLERS = 8
INTERVAL_SECONDS = 0.08
TIMEOUT_SECONDS = 10
MAX_SECONDS = 60

samples: list[tuple[float, float, int, str]] = []


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, str]:
    """Return the status and the X-Cache header."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    await reader.readexactly(int(headers["content-length"]))
    return int(status.split()[1]), headers.get("x-cache", "")


async def call(port: int, paths: list[str], number: int) -> None:
    due = time.monotonic() + INTERVAL_SECONDS * number / CALLERS
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while True:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        number += 1
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                status, x_cache = await get(*connection, paths[number % len(paths)])
        except (OSError, EOFError):  # TimeoutError is an OSError
            connection, status, x_cache = None, 0, ""
        samples.append((due, time.monotonic() - due, status, x_cache))
        due += INTERVAL_SECONDS


async def load(port: int, paths: list[str]) -> None:
    callers = [asyncio.ensure_future(call(port, paths, number)) for number in range(CALLERS)]
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([*callers, end], timeout=MAX_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    sys.stdout.write(json.dumps(samples))


if __name__ == "__main__":
    asyncio.run(load(int(sys.argv[1]), sys.argv[2:]))
