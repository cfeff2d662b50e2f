"""An HTTP client on plain asyncio streams, cheap enough to share two cores with the server that it measures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dev.testing.servers import Answer

HOST = "127.0.0.1"  # without the port, so that the links in the pages of all servers are the same
TIMEOUT_SECONDS = 60
MAX_HEADER_BYTES = 1024 * 1024


class Connection:
    """One keep-alive connection, one request at a time; responses must have a Content-Length."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, target: str) -> Answer:
        return await self.send(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    async def send(self, request: bytes) -> Answer:
        """Send the bytes of a request; reconnects if the server closed the connection. Raises OSError or EOFError."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if self.streams is None or self.streams[0].at_eof():
                self.close()
                self.streams = await asyncio.open_connection(HOST, self.port, limit=MAX_HEADER_BYTES)
            reader, writer = self.streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
            line, *fields = head[:-4].split("\r\n")
            headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
            body = await reader.readexactly(int(headers["content-length"]))
            if headers.get("connection") == "close":
                self.close()
        return Answer(int(line.split()[1]), headers, body)

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None


async def get_all(port: int, targets: Sequence[str], connections: int = 8) -> dict[str, Answer]:
    """Request each target once."""
    remaining = iter(targets)
    answers: dict[str, Answer] = {}

    async def call() -> None:
        connection = Connection(port)
        for target in remaining:
            answers[target] = await connection.get(target)
        connection.close()

    await asyncio.gather(*(call() for _ in range(connections)))
    return answers
