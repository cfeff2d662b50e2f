"""A connection to one Redis server for an event loop. Redis answers its commands in their order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from redis import RedisError
from redis import exceptions as redis_exceptions
from redis.asyncio import ConnectionPool
from redis.connection import DefaultParser

from farmlokal.redis.client import Outages
from farmlokal.redis.nodes import MISPLACED, Nodes, check_role
from farmlokal.redis.scripts import Script
from farmlokal.redis.url import Address

PATIENCE_SECONDS = 1.0  # a new connection ends the catalogue's generation, so a short silence should not cost one
LAST_LOOKS = 10  # turns of the event loop
INCOMPLETE = object()  # no reply is this


class RedisAwayError(RedisError):
    """Redis does not answer, or refuses the command."""


class AsyncConnection(asyncio.Protocol):
    """redis-py connects: TLS, login, database. After listen(), this class reads the answers, parsed by hiredis.

    timeout: for each answer, in seconds.
    """

    def __init__(self, nodes: Nodes, address: Address, timeout: float) -> None:
        pool: Any = ConnectionPool.from_url(
            nodes.url_of(address), protocol=2, socket_timeout=None, socket_connect_timeout=None
        )
        self._connection: Any = pool.make_connection()
        self._nodes = nodes
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._transport = asyncio.WriteTransport()
        self._parser = hiredis.Reader(replyError=DefaultParser.parse_error, notEnoughData=INCOMPLETE)
        self._asked: deque[tuple[asyncio.Future[Any], asyncio.TimerHandle]] = deque()  # on their way
        self._patience = asyncio.Timeout(None)
        self._lost: asyncio.Future[RedisError] = self._loop.create_future()

    async def open(self, scripts: Sequence[Script]) -> None:
        await self._connection.connect()
        if self._nodes.checks_roles:
            with contextlib.suppress(redis_exceptions.NoPermissionError):
                check_role(await self.greet("ROLE"))
        for script in scripts:
            await self.greet("SCRIPT", "LOAD", script.text)

    async def greet(self, *command: Any) -> Any:
        """Send a command before listen()."""
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    def listen(self) -> None:
        """Take the connection over from redis-py, whose reader takes about half of the CPU time of a round trip."""
        self._transport = self._connection._writer.transport
        self._transport.set_protocol(self)

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    def fail(self, error: RedisError) -> None:
        for answer, _ in self._asked:
            if not answer.done():
                answer.set_result(RedisAwayError(str(error)))

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        """Send a command. Its answer may be a RedisError, which is not raised."""
        if self._transport.is_closing():
            raise RedisAwayError("not connected")
        answer = self._loop.create_future()
        timer = self._loop.call_later(self._timeout, self._look, answer, LAST_LOOKS)
        self._asked.append((answer, timer))
        self._transport.write(hiredis.pack_command(command))
        return answer

    def _look(self, answer: asyncio.Future[Any], looks: int) -> None:
        """Look several times: after a stall, the event loop may not have read the answer yet."""
        if answer.done():
            return
        if looks:
            self._loop.call_soon(self._look, answer, looks - 1)
            return
        error = redis_exceptions.TimeoutError("no answer in time")
        Outages.note(error)
        self._patience.reschedule(self._loop.time() + PATIENCE_SECONDS)
        answer.set_result(error)

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        while (reply := self._parser.gets()) is not INCOMPLETE:
            answer, timer = self._asked.popleft()
            timer.cancel()
            if not answer.done():
                answer.set_result(reply)
            else:  # it is late
                self._patience.reschedule(None)
            if isinstance(reply, MISPLACED):
                self._lose(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(redis_exceptions.ConnectionError(str(error or "closed by the server")))

    def _lose(self, error: RedisError) -> None:
        if not self._lost.done():
            self._lost.set_result(error)

    async def wait_until_lost(self) -> None:
        """Raise what ended the connection: a failure, the server's lost role, or a late answer (TimeoutError)."""
        async with asyncio.timeout(None) as self._patience:
            raise await self._lost
