"""One connection to Redis for an event loop; all requests share it.

The commands of one tick leave in one write, and the answers come back in the same order, so a request costs a future
and a few bytes, not a connection.

A command without an answer within REDIS_TIMEOUT_SECONDS means that Redis is silent. All callers that wait are told at
once, and later callers do not wait, until a PING is answered in time. After one more second the connection is closed,
and a background task makes a new one.

A busy event loop must not pass for a silent Redis. The time counts from the write, and the loop reads what has arrived
before it believes in silence.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import hiredis
from django.conf import settings
from redis import RedisError
from redis import TimeoutError as RedisTimeoutError
from redis.connection import SSLConnection, parse_url

from farmlokal.redis.client import Outages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farmlokal.redis.scripts import Script

PATIENCE_SECONDS = 1.0  # a new connection ends the catalogue's state, so a short silence should not cost one
CONNECT_SECONDS = 2.0  # in the background; enough for a Redis that is far away, with TLS
PAUSE_SECONDS = 0.2


class RedisAwayError(RedisError):
    """Redis does not answer, or refuses the command."""


class RedisSilentError(RedisAwayError, RedisTimeoutError):
    """Redis did not answer in time."""


class Connection(asyncio.Protocol):
    """Sends the commands of one tick in one write and reads the answers in the order of the commands.

    on_loss is called once, when the connection is lost.
    """

    def __init__(self, on_loss: Callable[[RedisAwayError], None]) -> None:
        self._on_loss = on_loss
        self._loop = asyncio.get_running_loop()
        self._timeout: float = settings.REDIS_TIMEOUT_SECONDS
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._sent: deque[list[Any]] = deque()  # of each write: [commands without an answer, when it was sent]
        self._is_silent = False
        self._timer: asyncio.Handle | None = None

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        if self._transport is None or self._is_silent:
            raise RedisAwayError("not connected" if self._transport is None else "silent")
        return self._ask(*command)

    def _ask(self, *command: Any) -> asyncio.Future[Any]:
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(command))
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        return future

    def lose(self, error: RedisAwayError) -> None:
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        self._tell_all(error)
        self._waiting, self._unsent, self._sent = deque(), [], deque()
        self._on_loss(error)

    def _tell_all(self, error: RedisAwayError) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)

    def _send(self) -> None:
        commands, self._unsent = self._unsent, []
        if self._transport:
            self._sent.append([len(commands), self._loop.time()])
            self._transport.write(b"".join(commands))
            if self._timer is None:
                self._watch()

    def _watch(self) -> None:
        """Looks again when the oldest write has been without an answer for too long."""
        self._timer = None
        if not self._sent:
            return
        left = self._sent[0][1] + self._limit() - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._watch)
        else:
            # Twice around the loop: before the second time it reads what has arrived.
            self._timer = self._loop.call_soon(self._loop.call_soon, self._look)

    def _limit(self) -> float:
        return self._timeout + PATIENCE_SECONDS if self._is_silent else self._timeout

    def _look(self) -> None:
        if self._sent and self._loop.time() - self._sent[0][1] >= self._limit():
            error = RedisSilentError("no answer in time")
            if self._is_silent:
                self.lose(error)
            else:
                self._fall_silent(error)
        self._watch()

    def _fall_silent(self, error: RedisSilentError) -> None:
        self._is_silent = True
        Outages.note(error)
        self._tell_all(error)  # they stay in the queue, for the late answers
        self._ping()

    def _ping(self) -> None:
        self._ask("PING").add_done_callback(partial(self._judge, self._loop.time()))

    def _judge(self, asked_at: float, answer: asyncio.Future[Any]) -> None:
        if isinstance(answer.exception(), RedisAwayError):
            return  # the connection is lost
        if self._loop.time() - asked_at < self._timeout:
            self._is_silent = False
        else:
            self._ping()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._waiting and (reply := self._reader.gets()) is not False:
            future = self._waiting.popleft()
            self._sent[0][0] -= 1
            if not self._sent[0][0]:
                self._sent.popleft()
            if future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(RedisAwayError(str(exc or "closed by Redis")))


class Pipeline:
    """greeting: a script, and its keys, that runs on each new connection before anything else."""

    def __init__(self, url: str, scripts: Sequence[Script], greeting: tuple[Script, Sequence[str]]) -> None:
        self._options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        self._scripts = scripts
        self._greeting = greeting
        self._connection: Connection | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    def start(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep_connected())

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What the script returns. Raises RedisAwayError, at once while there is no connection or Redis is silent."""
        self.start()
        if not self._tried.is_set():
            await self._wait_for_first_try()
        if self._connection is None or Outages.is_silent:
            raise RedisAwayError("not connected" if self._connection is None else "silent")
        try:
            return await self._evaluate(self._connection, script, keys, arguments)
        except hiredis.ReplyError as error:
            self._follow(error)
            raise RedisAwayError(str(error)) from error

    async def _wait_for_first_try(self) -> None:
        """The first requests of a process wait for its first connection, for one timeout at most."""
        try:
            async with asyncio.timeout(settings.REDIS_TIMEOUT_SECONDS):
                await self._tried.wait()
        except TimeoutError:
            Outages.note(RedisSilentError("no connection in time"))  # so that Django does not wait for it again
            self._tried.set()

    @staticmethod
    async def _evaluate(connection: Connection, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await connection.ask("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return await connection.ask("EVAL", script.text, len(keys), *keys, *arguments)

    async def _keep_connected(self) -> None:
        while True:
            if self._connection is None:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        self._connection = await self._connected()
                except TimeoutError:
                    Outages.note(RedisSilentError("no connection in time"))
                except (OSError, RedisAwayError, hiredis.HiredisError) as error:
                    Outages.note(error)
            self._tried.set()
            await asyncio.sleep(PAUSE_SECONDS)

    def _note_loss(self, error: RedisAwayError) -> None:
        if self._connection:
            Outages.note(error)
            Outages.losses += 1  # a Redis that was silent may have been replaced meanwhile
        self._connection = None

    async def _connected(self) -> Connection:
        loop, options = asyncio.get_running_loop(), self._options
        connection = Connection(self._note_loss)
        if "path" in options:
            await loop.create_unix_connection(lambda: connection, options["path"])
        else:
            address = options.get("host", "localhost"), options.get("port", 6379)
            await loop.create_connection(lambda: connection, *address, ssl=_tls(options))
        try:
            await self._greet(connection)
        except BaseException as error:
            connection.lose(RedisAwayError(str(error)))
            raise
        return connection

    async def _greet(self, connection: Connection) -> None:
        if password := self._options.get("password"):
            username = [self._options["username"]] if self._options.get("username") else []
            await connection.ask("AUTH", *username, password)
        if self._options.get("db"):
            await connection.ask("SELECT", self._options["db"])
        for script in self._scripts:
            await connection.ask("SCRIPT", "LOAD", script.text)
        script, keys = self._greeting
        try:
            await connection.ask("EVAL", script.text, len(keys), *keys)
        except hiredis.ReplyError as error:
            self._follow(error)
            raise

    def _follow(self, error: hiredis.ReplyError) -> None:
        """On a cluster: MOVED 3999 127.0.0.1:6381 says which node has our keys."""
        kind, _, rest = str(error).partition(" ")
        if kind == "MOVED":
            host, _, port = rest.partition(" ")[2].rpartition(":")
            self._options |= {"host": host or self._options.get("host"), "port": int(port)}
            if self._connection:
                self._connection.lose(RedisAwayError(str(error)))


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    """By the options that redis-py reads from a rediss:// URL."""
    if not issubclass(options.get("connection_class", object), SSLConnection):
        return None
    context = ssl.create_default_context()
    if "ssl_ca_certs" in options or "ssl_ca_path" in options:  # beside the system's CAs, as redis-py does
        context.load_verify_locations(options.get("ssl_ca_certs"), options.get("ssl_ca_path"))
    if options.get("ssl_cert_reqs") == "none" or options.get("ssl_check_hostname") is False:
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.verify_mode = ssl.CERT_NONE
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
