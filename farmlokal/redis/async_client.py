"""Connections to Redis for an event loop, by redis-py: one to each server that has keys of ours.

A command without an answer within REDIS_TIMEOUT_SECONDS means that Redis is silent. Later commands then fail at once,
until a background probe is answered (see Outages). If the late answer takes one more second, or a server has lost its
role, all connections are closed. A background task asks which servers have our keys now, and opens others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from redis import RedisError
from redis import exceptions as redis_exceptions

from farmlokal.redis.async_connection import AsyncConnection, RedisAwayError
from farmlokal.redis.client import Outages
from farmlokal.redis.nodes import nodes_of
from farmlokal.redis.scripts import PROBE_KEYS, Call, Script
from farmlokal.redis.url import Address

CONNECT_SECONDS = 2.0  # in the background; enough for a distant Redis with TLS
PAUSE_SECONDS = 0.2


class AsyncClient:
    """greeting: whenever connections are new, also the first time unless start() names another."""

    def __init__(self, url: str, scripts: Sequence[Script], greeting: Call) -> None:
        self._nodes = nodes_of(url)
        self._timeout: float = settings.REDIS_TIMEOUT_SECONDS
        self._scripts = scripts
        self._greeting = greeting
        self._first_greeting: Call | None = None
        self._connections: dict[Address, AsyncConnection] = {}
        self._must_ask_again = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    def start(self, first_greeting: Call | None = None) -> None:
        if self._keeping is None:
            self._first_greeting = first_greeting
            self._keeping = asyncio.get_running_loop().create_task(self._keep_connected())

    async def close(self) -> None:
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """run_all() for one call."""
        return (await self.run_all([Call(script, keys, arguments)]))[0]

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Send all calls at once. Return the scripts' results.

        Raise RedisAwayError, at once while there is no connection or Redis is silent.
        """
        self.start()
        if not self._tried.is_set():
            await self._wait_for_first_try()
        if Outages.is_silent:
            raise RedisAwayError("silent")
        try:
            answers = [self._send("EVALSHA", call.script.sha, call) for call in calls]
            return [await self._result(call, answer) for call, answer in zip(calls, answers, strict=True)]
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

    def _send(self, command: str, script: str, call: Call) -> asyncio.Future[Any]:
        """script: its text or its hash."""
        connection = self._connection_of(call.keys[0] if call.keys else "")
        return connection.ask(command, script, len(call.keys), *call.keys, *call.arguments)

    async def _result(self, call: Call, answer: asyncio.Future[Any]) -> Any:
        result = await answer
        if isinstance(result, redis_exceptions.NoScriptError):
            result = await self._send("EVAL", call.script.text, call)
        if isinstance(result, RedisError):
            raise result
        return result

    def _connection_of(self, key: str) -> AsyncConnection:
        if not self._connections:
            raise RedisAwayError("not connected")
        connection = self._connections.get(self._nodes.address_of(key))
        if connection is None:
            self._must_ask_again.set()
            raise RedisAwayError("not connected to the server of this key")
        return connection

    async def _keep_connected(self) -> None:
        while True:
            opened: dict[Address, AsyncConnection] = {}
            try:
                await asyncio.to_thread(self._nodes.ask_seeds)
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._open(opened)
                self._connections = opened
                self._tried.set()
                await self._wait_until_lost(opened)
            except TimeoutError:
                self._lose(redis_exceptions.TimeoutError("no answer in time"))
            except RedisError as error:
                self._lose(error)
            finally:
                for connection in opened.values():
                    await connection.close()
            self._tried.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _open(self, opened: dict[Address, AsyncConnection]) -> None:
        self._must_ask_again.clear()
        greeting = self._first_greeting or self._greeting
        for key in dict.fromkeys([*greeting.keys[:1], *PROBE_KEYS]):
            address = self._nodes.address_of(key)
            if address not in opened:
                opened[address] = connection = AsyncConnection(self._nodes, address, self._timeout)
                await connection.open(self._scripts)
        script, keys, arguments = greeting
        greeted = opened[self._nodes.address_of(keys[0] if keys else "")]
        await greeted.greet("EVAL", script.text, len(keys), *keys, *arguments)
        self._first_greeting = None
        for connection in opened.values():
            connection.listen()

    async def _wait_until_lost(self, opened: dict[Address, AsyncConnection]) -> None:
        """Until one connection fails, or a key belongs to a server without a connection."""
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(connection.wait_until_lost()) for connection in opened.values()
        ]
        tasks.append(asyncio.ensure_future(self._must_ask_again.wait()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise redis_exceptions.ConnectionError("another server has our keys")

    def _lose(self, error: RedisError) -> None:
        Outages.note(error)
        if self._connections:
            Outages.count_loss()  # a Redis that was silent may have been replaced meanwhile
        lost, self._connections = self._connections, {}
        for connection in lost.values():
            connection.fail(error)
