"""Receives the whole body of a request before a thread works on it, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from farmlokal.edge.asgi_types import Message, Receive, Send
from farmlokal.http.problems import body_too_large

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from farmlokal.edge.request import EdgeRequest

WAIT_SECONDS = 10  # for the last byte of a body
DRAIN_SECONDS = 1  # for the rest of a body after its response
SMALL_BYTES = 64 * 1024  # a body up to this size needs no reservation
MAX_LARGE_BYTES = 16 * 1024 * 1024  # for all larger bodies in this process together
CLOSE = b"connection", b"close"


class RequestRefusedError(Exception):
    """Arguments: code and detail of the problem that answers the request."""


class _Reservation:
    """Memory for one body, from the share of all large bodies in this process."""

    total_bytes = 0  # of all reservations

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0

    def grow(self, size: int) -> None:
        """To this size. Raises RequestRefusedError."""
        if size > self._max_bytes:
            raise RequestRefusedError("payload-too-large", body_too_large(self._max_bytes))
        size = size if size > SMALL_BYTES else 0
        _Reservation.total_bytes += size - self._bytes
        self._bytes = size
        if size and _Reservation.total_bytes > MAX_LARGE_BYTES:
            raise RequestRefusedError("database-unavailable", "Too many large bodies are arriving. Try again shortly.")

    def release(self) -> None:
        _Reservation.total_bytes -= self._bytes


@contextlib.asynccontextmanager
async def received(request: EdgeRequest) -> AsyncIterator[bytes]:
    """The body, or b"" without reading it if the route takes none. Its memory stays reserved until the block ends.
    Raises RequestRefusedError."""
    max_bytes = request.route.max_body_bytes.get(request.method) if request.has_body else None
    reservation = _Reservation(max_bytes or 0)
    try:
        yield b"" if max_bytes is None else await _receive(request, reservation)
    finally:
        reservation.release()


async def _receive(request: EdgeRequest, reservation: _Reservation) -> bytes:
    declared = int(request.headers.get(b"content-length", b"0"))
    reservation.grow(declared)
    pieces: list[bytes] = []
    size, has_more = 0, True
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while has_more:
                message = await request.receive()
                if message["type"] == "http.disconnect":  # the part that has arrived may look complete
                    raise RequestRefusedError("bad-request", "The body did not arrive.")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                reservation.grow(max(declared, size))
                has_more = message.get("more_body", False)
    except TimeoutError:
        raise RequestRefusedError("bad-request", "The body did not arrive in time.") from None
    return b"".join(pieces)


class UnreadBody:
    """receive and send of a request with a body.

    A response that does not wait for the end of the body closes the connection. Before that, the rest of the body is
    read for a moment: a client that still sends when the connection is reset would never see the response.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_read = False
        self._closes = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._is_read:
            self._closes = True
            message = {**message, "headers": [*message["headers"], CLOSE]}
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (is_last and self._closes):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._is_read:
                    await self.receive()
        await self._send({"type": "http.response.body", "body": b""})
