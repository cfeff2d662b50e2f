"""A TCP proxy whose behaviour is switched while it runs: what a network that breaks, or a server that hangs, is like.

pass: what one side says reaches the other.
slow: so it does, but each answer some time later.
blackhole: connections are made, and nothing that is said on any of them reaches anybody.
refuse: connections are cut, and no new ones are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Literal

from dev.testing.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any, Self

    Behaviour = Literal["pass", "slow", "blackhole", "refuse"]


class Proxy:
    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._behaviour: Behaviour = "refuse"
        self._delay = 0.0
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
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def behave(self, behaviour: Behaviour, delay: float = 0.0) -> None:
        self._do(self._behave(behaviour, delay))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _behave(self, behaviour: Behaviour, delay: float) -> None:
        if behaviour == "refuse" and self._listener:
            self._listener.close()
            self._listener = None
        if behaviour == "refuse" or (self._behaviour == "blackhole" and behaviour != "blackhole"):
            for writer in self._writers:  # what a blackhole has swallowed is missing in them
                writer.transport.abort()
        self._behaviour, self._delay = behaviour, delay
        if behaviour != "refuse" and not self._listener:
            self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        server: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError):
            if self._behaviour == "blackhole":
                while await reader.read(65536):
                    pass
            else:
                answers, server = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(server)
                ways = [self._carry(reader, server, is_answer=False), self._carry(answers, writer, is_answer=True)]
                tasks = [asyncio.ensure_future(way) for way in ways]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        for end in (writer, server):
            if end:
                end.transport.abort()
                self._writers.discard(end)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.ensure_future(self._deliver(waiting, writer))
        try:
            while said := await reader.read(65536):
                if self._behaviour != "blackhole":
                    waiting.put_nowait((self._loop.time() + (self._delay if is_answer else 0), said))
        except OSError:
            return
        finally:
            delivery.cancel()

    async def _deliver(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, said = await waiting.get()
            await asyncio.sleep(max(due - self._loop.time(), 0))
            if self._behaviour != "blackhole":
                writer.write(said)
