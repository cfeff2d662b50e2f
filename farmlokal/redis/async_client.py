"""One connection to Redis for an event loop, by redis-py; it carries one command at a time.

A command without an answer within REDIS_TIMEOUT_SECONDS means that Redis is silent. Later commands then fail at once,
until a background probe is answered (see Outages). If the late answer takes one more second, the connection is closed,
and a background task opens another.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import hiredis
from django.conf import settings
from redis import RedisError
from redis import exceptions as redis_exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from farmlokal.redis.client import Outages
from farmlokal.redis.scripts import Script

PATIENCE_SECONDS = 1.0  # a new connection ends the catalogue's generation, so a short silence should not cost one
CONNECT_SECONDS = 2.0  # in the background; enough for a distant Redis with TLS
PAUSE_SECONDS = 0.2
LAST_LOOKS = 10  # turns of the event loop


class RedisAwayError(RedisError):
    """Redis does not answer, or refuses the command."""


class Greeting(NamedTuple):
    """A script that runs on a new connection before anything else."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | int] = ()


class AsyncClient:
    """greeting: for each connection, also the first unless start() names another."""

    def __init__(self, url: str, scripts: Sequence[Script], greeting: Greeting) -> None:
        self._pool: Any = ConnectionPool.from_url(
            url, protocol=2, socket_timeout=None, socket_connect_timeout=None, redis_connect_func=self._greet
        )
        self._timeout: float = settings.REDIS_TIMEOUT_SECONDS
        self._scripts = scripts
        self._greeting = greeting
        self._first_greeting: Greeting | None = None
        self._connection: AbstractConnection | None = None
        self._answer: asyncio.Future[Any] | None = None  # of the command that is on its way
        self._patience = asyncio.Timeout(None)
        self._keeping: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    def start(self, first_greeting: Greeting | None = None) -> None:
        if self._keeping is None:
            self._first_greeting = first_greeting
            self._keeping = asyncio.get_running_loop().create_task(self._keep_connected())

    async def close(self) -> None:
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Return the script's result. Raise RedisAwayError, at once while there is no connection or Redis is silent."""
        self.start()
        if not self._tried.is_set():
            await self._wait_for_first_try()
        if Outages.is_silent:
            raise RedisAwayError("silent")
        try:
            return await self._evaluate(script, keys, arguments)
        except RedisError as error:
            raise RedisAwayError(str(error)) from error

    async def _wait_for_first_try(self) -> None:
        """The first requests of a process wait for its first connection, for one timeout at most."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._tried.wait()
        except TimeoutError:
            self._tried.set()
            Outages.note(redis_exceptions.TimeoutError("no connection in time"))  # spares Django the same wait

    async def _evaluate(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await self._ask("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except redis_exceptions.NoScriptError:
            return await self._ask("EVAL", script.text, len(keys), *keys, *arguments)

    async def _ask(self, *command: Any) -> Any:
        if not (self._connection and self._connection.is_connected):
            raise RedisAwayError("not connected")
        if self._answer:
            raise RedisAwayError("the previous command has no answer yet")
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
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

    async def _keep_connected(self) -> None:
        while True:
            connection = self._pool.make_connection()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()
                self._connection = connection
                self._tried.set()
                await self._read_answers(connection)
            except redis_exceptions.MovedError as moved:  # a cluster: another node has our keys
                options = self._pool.connection_kwargs
                options.update(host=moved.host or options["host"], port=moved.port)
                self._lose(moved)
            except TimeoutError:
                self._lose(redis_exceptions.TimeoutError("no answer in time"))
            except RedisError as error:
                self._lose(error)
            finally:
                await connection.disconnect(nowait=True)
            self._tried.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read_answers(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(None) as self._patience:
            while True:
                try:
                    reply = await connection.read_response(timeout=math.inf)
                except redis_exceptions.ResponseError as error:
                    reply = error
                answer, self._answer = self._answer, None
                if answer and not answer.done():
                    answer.set_result(reply)
                else:  # it is late
                    self._patience.reschedule(None)
                if isinstance(reply, redis_exceptions.MovedError):
                    raise reply

    def _lose(self, error: RedisError) -> None:
        Outages.note(error)
        if self._connection:
            Outages.losses += 1  # a Redis that was silent may have been replaced meanwhile
        if self._answer and not self._answer.done():
            self._answer.set_result(RedisAwayError(str(error)))
        self._connection = self._answer = None

    async def _greet(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        script, keys, arguments = self._first_greeting or self._greeting
        commands = [("SCRIPT", "LOAD", each.text) for each in self._scripts]
        for command in [*commands, ("EVAL", script.text, len(keys), *keys, *arguments)]:
            await connection.send_command(*command)
            await connection.read_response()
        self._first_greeting = None
