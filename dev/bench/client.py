"""A client of plain sockets: cheap enough to share two cores with what it measures."""

from __future__ import annotations

import asyncio

from dev.bench.stacks import Answer

TIMEOUT_SECONDS = 60


class Connection:
    """One request at a time, on a connection that is kept; answers must say their Content-Length."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, target: str) -> Answer:
        return await self.ask(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())

    async def ask(self, request: bytes) -> Answer:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if self.streams is None or self.streams[0].at_eof():
                self.close()
                self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1024 * 1024)
            reader, writer = self.streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").lower()
            line, *fields = head[:-4].split("\r\n")
            headers = dict(field.split(": ", 1) for field in fields)
            body = await reader.readexactly(int(headers["content-length"]))
        return Answer(int(line.split()[1]), headers, body)

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None
