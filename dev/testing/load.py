"""python -m dev.testing.load PORT PATH...: callers who ask for these pages in turn, until standard input ends.

Each has a connection of its own, and asks when it is time to, not when it has its last answer: a server that keeps
them waiting makes them late, and that counts. Prints a list of [when it was time, seconds until the answer, status
(0: none), X-Cache]; the clock is the machine's monotonic one, the same in all processes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

CALLERS = 8
EVERY_SECONDS = 0.08
PATIENCE_SECONDS = 10
MAX_SECONDS = 60

answers: list[tuple[float, float, int, str]] = []


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, str]:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    await reader.readexactly(int(headers["content-length"]))
    return int(status.split()[1]), headers.get("x-cache", "")


async def call(port: int, paths: list[str], number: int) -> None:
    due = time.monotonic() + EVERY_SECONDS * number / CALLERS
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while True:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        number += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                status, x_cache = await ask(*connection, paths[number % len(paths)])
        except (OSError, EOFError):  # a time that has run out is an OSError too
            connection, status, x_cache = None, 0, ""
        answers.append((due, time.monotonic() - due, status, x_cache))
        due += EVERY_SECONDS


async def load(port: int, paths: list[str]) -> None:
    callers = [asyncio.ensure_future(call(port, paths, number)) for number in range(CALLERS)]
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([*callers, end], timeout=MAX_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(load(int(sys.argv[1]), sys.argv[2:]))
