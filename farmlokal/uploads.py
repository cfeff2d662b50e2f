"""The body of a request: received whole before a thread works on it, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from farmlokal.errors import body_too_large

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


class _Memory:
    """What the large bodies of this process hold now."""

    large_bytes = 0


def has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


@contextlib.asynccontextmanager
async def received(scope: Scope, receive: Receive, most: int | None) -> AsyncIterator[bytes]:
    """The body, of `most` bytes at most (None: it is not read). Its memory is accounted for until the block ends.
    Raises RefusedError."""
    body = bytearray()
    try:
        if most is not None:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await _receive_into(body, scope, receive, most)
            except TimeoutError:
                raise RefusedError("bad-request", "The body did not arrive in time.") from None
        yield bytes(body)
    finally:
        _Memory.large_bytes -= _large(len(body))


async def _receive_into(body: bytearray, scope: Scope, receive: Receive, most: int) -> None:
    declared = int(dict(scope["headers"]).get(b"content-length", b"0"))
    if declared > most:
        raise RefusedError("payload-too-large", body_too_large(most))
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":  # what has arrived may look complete
            raise RefusedError("bad-request", "The body did not arrive.")
        before = _large(len(body))
        body += message.get("body", b"")
        more = message.get("more_body", False)
        _Memory.large_bytes += _large(len(body)) - before
        if len(body) > most:
            raise RefusedError("payload-too-large", body_too_large(most))
        if _large(len(body)) and _Memory.large_bytes > MAX_LARGE_BYTES:
            raise RefusedError("database-unavailable", "Too many large bodies are arriving; try again shortly.")


def _large(size: int) -> int:
    return size if size > SMALL_BYTES else 0


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
