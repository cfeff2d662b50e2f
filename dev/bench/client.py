"""An HTTP client on plain asyncio streams, cheap enough to share two cores with the server that it measures."""

from __future__ import annotations

import asyncio

from dev.testing.servers import Answer

TIMEOUT_SECONDS = 60
MAX_HEADER_BYTES = 1024 * 1024


class Connection:
    """One keep-alive connection, one request at a time; responses must have a Content-Length."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, target: str) -> Answer:
        return await self.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())

    async def send(self, request: bytes) -> Answer:
        """Send the bytes of a request; reconnects if the server closed the connection. Raises OSError or EOFError."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if self.streams is None or self.streams[0].at_eof():
                self.close()
                self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=MAX_HEADER_BYTES)
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
