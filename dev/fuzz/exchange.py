"""Sends cases over sockets, and collects the statuses of the responses."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from typing import NamedTuple

import httptools

from dev.fuzz.cases import HOST, Case

TIMEOUT_SECONDS = 30  # for a well-formed request
QUIET_SECONDS = 2  # after the last bytes of a raw case, which may never get a response
STATUS = re.compile(rb"(?:\A|\r\n|[}>.])HTTP/1\.1 ([2-5]\d\d) ")  # after a head without a body, JSON, HTML or text
LARGE_BYTES = 60_000  # a refusal may be lost if the server closes before it has read so much
MAX_HEAD = 1024


class Outcome(NamedTuple):
    statuses: tuple[int, ...]  # 0: no response
    head: bytes  # the first bytes of the response


class Caller:
    """Well-formed requests share a connection, as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, case: Case) -> Outcome:
        if case.is_raw:
            return await self._send_raw(case)
        is_new = self._streams is None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                outcome = await self._exchange(case)
        except (OSError, EOFError, httptools.HttpParserError) as error:
            self.close()
            if not is_new and isinstance(error, ConnectionError | EOFError):  # the server had closed an idle connection
                return await self.send(case)
            return Outcome((0,), repr(error).encode())
        return outcome

    async def _exchange(self, case: Case) -> Outcome:
        self._streams = self._streams or await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        answer = _Answer()
        writer.writelines(case.pieces)
        while not answer.is_complete:
            data = await reader.read(65536)
            if not data and not answer.status:
                raise EOFError("the connection ended without a response")
            answer.feed(data)
        if not answer.keeps_alive:
            self.close()
        return Outcome((answer.status,), answer.head)

    async def _send_raw(self, case: Case) -> Outcome:
        received = b""
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(HOST, self._port)
            try:
                with contextlib.suppress(ConnectionError):
                    for piece in case.pieces:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(case.pause)
                    if case.is_cut:
                        _reset(writer)
                        return Outcome((0,), b"")
                    writer.write_eof()
                async with asyncio.timeout(QUIET_SECONDS):
                    while data := await reader.read(65536):
                        received += data
            finally:
                writer.close()
        return Outcome(tuple(int(status) for status in STATUS.findall(received)) or (0,), received[:MAX_HEAD])

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


class _Answer:
    """One response, by the parser of llhttp."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status, self.head, self.is_complete, self.keeps_alive = 0, b"", False, False

    def feed(self, data: bytes) -> None:
        self.head = (self.head + data)[:MAX_HEAD] if len(self.head) < MAX_HEAD else self.head
        if data:
            self._parser.feed_data(data)
        else:
            self.is_complete = True  # the body lasted until the end of the connection

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        if self.status >= 200:  # 100 and 103 announce a final response
            self.is_complete, self.keeps_alive = True, self._parser.should_keep_alive()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
