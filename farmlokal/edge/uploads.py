"""The body of a request: received whole before a thread works on it, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from farmlokal.http.problems import body_too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

WAIT_SECONDS = 10  # for the last byte of a body
DRAIN_SECONDS = 1  # for the rest of a body whose answer did not wait for it
SMALL_BYTES = 64 * 1024  # a body up to this size is always received
MAX_LARGE_BYTES = 16 * 1024 * 1024  # of all larger bodies in this process together
CLOSE = b"connection", b"close"


class RefusedError(Exception):
    """Arguments: the code and the detail of the problem that answers the request."""


class _Reservation:
    """Memory for one body, of what this process allows for all large ones together."""

    in_use = 0  # bytes, of all reservations

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0

    def grow(self, size: int) -> None:
        """To this size. Raises RefusedError."""
        if size > self._most:
            raise RefusedError("payload-too-large", body_too_large(self._most))
        size = size if size > SMALL_BYTES else 0
        _Reservation.in_use += size - self._bytes
        self._bytes = size
        if size and _Reservation.in_use > MAX_LARGE_BYTES:
            raise RefusedError("database-unavailable", "Too many large bodies are arriving; try again shortly.")

    def release(self) -> None:
        _Reservation.in_use -= self._bytes


def has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


@contextlib.asynccontextmanager
async def received(scope: Scope, receive: Receive, most: int | None) -> AsyncIterator[bytes]:
    """The body, of `most` bytes at most (None: it is not read). Its memory is reserved until the block ends.
    Raises RefusedError."""
    reservation = _Reservation(most or 0)
    try:
        yield b"" if most is None else await _received(scope, receive, reservation)
    finally:
        reservation.release()


async def _received(scope: Scope, receive: Receive, reservation: _Reservation) -> bytes:
    declared = int(dict(scope["headers"]).get(b"content-length", b"0"))
    reservation.grow(declared)
    pieces: list[bytes] = []
    arrived, more = 0, True
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # what has arrived may look complete
                    raise RefusedError("bad-request", "The body did not arrive.")
                pieces.append(message.get("body", b""))
                arrived += len(pieces[-1])
                reservation.grow(max(declared, arrived))
                more = message.get("more_body", False)
    except TimeoutError:
        raise RefusedError("bad-request", "The body did not arrive in time.") from None
    return b"".join(pieces)


class UnreadBody:
    """receive and send of a request with a body. An answer that does not wait for the body's end closes the
    connection. The rest of the body is read first, for a moment: a client that is still sending when the connection is
    reset would never see the answer."""

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
