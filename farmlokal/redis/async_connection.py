"""A connection to one Redis server for an event loop. Redis answers its commands in their order."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from redis import RedisError
from redis import exceptions as redis_exceptions
from redis.asyncio import ConnectionPool

from farmlokal.redis.client import Outages
from farmlokal.redis.nodes import MISPLACED, Nodes, check_role
from farmlokal.redis.scripts import Script
from farmlokal.redis.url import Address

PATIENCE_SECONDS = 1.0  # a new connection ends the catalogue's generation, so a short silence should not cost one
LAST_LOOKS = 10  # turns of the event loop


class RedisAwayError(RedisError):
    """Redis does not answer, or refuses the command."""


class AsyncConnection:
    """timeout: for each answer, in seconds."""

    def __init__(self, nodes: Nodes, address: Address, timeout: float) -> None:
        pool: Any = ConnectionPool.from_url(
            nodes.url_of(address), protocol=2, socket_timeout=None, socket_connect_timeout=None
        )
        self._connection: Any = pool.make_connection()
        self._nodes = nodes
        self._timeout = timeout
        self._answers: deque[asyncio.Future[Any]] = deque()  # of the commands that are on their way
        self._patience = asyncio.Timeout(None)

    async def open(self, scripts: Sequence[Script]) -> None:
        await self._connection.connect()
        if self._nodes.checks_roles:
            with contextlib.suppress(redis_exceptions.NoPermissionError):
                check_role(await self.greet("ROLE"))
        for script in scripts:
            await self.greet("SCRIPT", "LOAD", script.text)

    async def greet(self, *command: Any) -> Any:
        """Send a command before the first ask()."""
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)

    def fail(self, error: RedisError) -> None:
        for answer in self._answers:
            if not answer.done():
                answer.set_result(RedisAwayError(str(error)))

    async def ask(self, *command: Any) -> Any:
        if not self._connection.is_connected:
            raise RedisAwayError("not connected")
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._answers.append(answer)
        await self._connection.send_packed_command(hiredis.pack_command(command), check_health=False)
        timer = loop.call_later(self._timeout, self._look, answer, LAST_LOOKS)
        reply = await answer
        timer.cancel()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def _look(self, answer: asyncio.Future[Any], looks: int) -> None:
        """Look several times: after a stall, the event loop may not have read the answer yet."""
        if answer.done():
            return
        loop = asyncio.get_running_loop()
        if looks:
            loop.call_soon(self._look, answer, looks - 1)
            return
        error = redis_exceptions.TimeoutError("no answer in time")
        Outages.note(error)
        self._patience.reschedule(loop.time() + PATIENCE_SECONDS)
        answer.set_result(error)

    async def read_answers(self) -> None:
        """Until the connection fails, the server has lost its role, or a late answer is too late (TimeoutError)."""
        async with asyncio.timeout(None) as self._patience:
            while True:
                try:
                    reply = await self._connection.read_response(timeout=math.inf)
                except redis_exceptions.ResponseError as error:
                    reply = error
                answer = self._answers.popleft()
                if not answer.done():
                    answer.set_result(reply)
                else:  # it is late
                    self._patience.reschedule(None)
                if isinstance(reply, MISPLACED):
                    raise reply
