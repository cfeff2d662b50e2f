"""One connection to Redis for an event loop, over which all requests ask at once.

What the requests of one tick ask leaves in one write, and the answers come back in the same order; so a request costs
a future and a few bytes, not a connection. Where a command has no answer within REDIS_TIMEOUT_SECONDS everyone who
waits is told that Redis is away, and later callers at once, until all late answers have come and a PING is answered in
time; after a second the connection is given up. A new one is made in the background, and only one that answers in time
is used.

Silence is Redis's own: it counts from when the commands have left, and before it is believed the event loop, which may
have been busy all the while, reads what has arrived.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import hiredis
from django.conf import settings
from redis import TimeoutError as RedisTimeoutError
from redis.connection import SSLConnection, parse_url

from farmlokal.redis import Outages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farmlokal.redis import Script

PATIENCE_SECONDS = 1.0
CONNECT_SECONDS = 0.5  # nobody waits for it but the first requests of a process
PAUSE_SECONDS = 0.2


class RedisAwayError(Exception):
    """Redis does not answer, or not with what was asked for."""


class Connection(asyncio.Protocol):
    """Commands of one tick in one write, answers in the order of the commands."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._loop = asyncio.get_running_loop()
        self._silence = settings.REDIS_TIMEOUT_SECONDS
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._sent: deque[list[Any]] = deque()  # [how many of those that wait, since when], by write
        self._is_silent = False
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        if self._transport is None or self._is_silent:
            raise RedisAwayError("not connected" if self._transport is None else "silent")
        return self._ask(*command)

    def _ask(self, *command: Any) -> asyncio.Future[Any]:
        if not self._unsent:
            self._loop.call_soon(self._send)
        if self._timer is None:
            self._timer = self._loop.call_later(self._silence, self._check_silence)
        self._unsent.append(hiredis.pack_command(command))
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        return future

    def lose(self, reason: str) -> None:
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        self._tell_all(reason)
        self._waiting, self._unsent, self._sent = deque(), [], deque()
        self._notice(reason)

    def _tell_all(self, reason: str) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(RedisAwayError(reason))

    def _send(self) -> None:
        commands, self._unsent = self._unsent, []
        if self._transport:
            self._sent.append([len(commands), self._loop.time()])
            self._transport.write(b"".join(commands))

    def _check_silence(self) -> None:
        self._timer = None
        if self._transport is None or not (self._waiting or self._is_silent):
            return
        self._timer = self._loop.call_later(self._silence, self._check_silence)
        if self._is_silent:
            Outages.note(RedisTimeoutError("silent"))  # so that nobody else waits for it either
            if not self._waiting:
                self._ask("PING").add_done_callback(partial(self._judge, self._loop.time()))
        if self._owed_for() >= self._silence:
            # Twice around the loop: the second time is after it has read.
            self._loop.call_soon(self._loop.call_soon, self._believe_silence)

    def _owed_for(self) -> float:
        return self._loop.time() - self._sent[0][1] if self._sent else 0.0

    def _believe_silence(self) -> None:
        if self._owed_for() >= PATIENCE_SECONDS:
            self.lose("no answer")
        elif self._owed_for() >= self._silence:
            self._is_silent = True
            self._tell_all("no answer in time")  # they stay in the line, for the late answers

    def _judge(self, asked_at: float, answer: asyncio.Future[Any]) -> None:
        if not answer.exception() and self._loop.time() - asked_at < self._silence:
            self._is_silent = False
            Outages.end()

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
        self.lose(str(exc or "closed by Redis"))


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
        """What the script returns; raises RedisAwayError at once while there is no connection."""
        self.start()
        if not self._tried.is_set():  # the first requests of a process wait for its first attempt
            await self._tried.wait()
        if self._connection is None:
            raise RedisAwayError("not connected")
        try:
            return await self._evaluate(self._connection, script, keys, arguments)
        except hiredis.ReplyError as error:
            self._follow(error)
            raise RedisAwayError(str(error)) from error

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
                    Outages.end()
                except (OSError, TimeoutError, RedisAwayError, hiredis.HiredisError) as error:
                    Outages.note(error)
            self._tried.set()
            await asyncio.sleep(PAUSE_SECONDS)

    def _note_loss(self, reason: str) -> None:
        if self._connection:
            Outages.note(reason)
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
            connection.lose(str(error))
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
                self._connection.lose(str(error))


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
