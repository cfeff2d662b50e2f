"""A TCP proxy that imitates a failing network or a hung server; its behaviour changes while it runs.

pass: forward both directions.
slow: forward, but delay each response.
blackhole: accept connections and discard all bytes.
refuse: reset open connections and accept no new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from dev.testing.servers import free_port

Behaviour = Literal["pass", "slow", "blackhole", "refuse"]

TIMEOUT_SECONDS = 60
DEFAULT_PORTS = {"mysql": 3306, "redis": 6379}


class Proxy:
    """Forwards its own port to a server on loopback while used as a context manager.

    url: the same as server_url, but through the proxy.
    """

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        self.port = free_port()
        user, at, _ = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()
        self._target = parts.port or DEFAULT_PORTS[parts.scheme]
        self._behaviour: Behaviour = "refuse"
        self._delay_seconds = 0.0
        self._lost: tuple[bytes, bool] | None = None
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.behave("pass")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.behave("refuse")
        self._run(self._cancel_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_SECONDS)
        self._loop.close()

    def behave(self, behaviour: Behaviour, delay: float = 0.0) -> None:
        """Switch the behaviour; delay is in seconds."""
        self._run(self._behave(behaviour, delay))

    def lead_to(self, server_url: str) -> None:
        """From now on, new connections lead to another server."""
        self._target = urlsplit(server_url).port or self._target

    def lose(self, text: bytes, *, is_sent: bool) -> None:
        """Break one connection: as soon as a client sends this text, or (is_sent) when the server has answered it."""
        self._lost = (text, is_sent)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT_SECONDS)

    async def _behave(self, behaviour: Behaviour, delay: float) -> None:
        if behaviour == "refuse" and self._listener:
            self._listener.close()
            self._listener = None
        if behaviour == "refuse" or (self._behaviour == "blackhole" and behaviour != "blackhole"):
            for writer in self._writers:  # after a blackhole these streams have gaps
                writer.transport.abort()
        self._behaviour, self._delay_seconds = behaviour, delay
        if behaviour != "refuse" and not self._listener:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        server: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError):
            if self._behaviour == "blackhole":
                while await reader.read(65536):
                    pass
            else:
                responses, server = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(server)
                is_losing = asyncio.Event()
                directions = [
                    self._forward(reader, server, is_losing, is_response=False),
                    self._forward(responses, writer, is_losing, is_response=True),
                ]
                tasks = [asyncio.ensure_future(direction) for direction in directions]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        for end in (writer, server):
            if end:
                end.transport.abort()
                self._writers.discard(end)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_losing: asyncio.Event,
        *,
        is_response: bool,
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.ensure_future(self._deliver(queue, writer))
        try:
            while data := await reader.read(65536):
                if is_response and is_losing.is_set():
                    return
                if not is_response and self._lost and self._lost[0] in data:
                    (_, is_sent), self._lost = self._lost, None
                    if not is_sent:
                        return
                    is_losing.set()
                if self._behaviour != "blackhole":
                    queue.put_nowait((self._loop.time() + (self._delay_seconds if is_response else 0), data))
        except OSError:
            return
        finally:
            delivery.cancel()

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(due - self._loop.time(), 0))
            if self._behaviour != "blackhole":
                writer.write(data)
