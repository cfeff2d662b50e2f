"""A Redis that fails on schedule, for servers that reach it through a proxy."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from redis import Redis

from dev.testing.proxy import Proxy

SLOW_SECONDS = 0.3


class Fault(NamedTuple):
    name: str
    begin: Callable[[], None]
    end: Callable[[], None]


class Episode(NamedTuple):
    """When a fault began and ended, by time.perf_counter()."""

    fault: str
    began_at: float
    ended_at: float


class FailingRedis:
    """proxy: what the servers connect to, in front of the private Redis."""

    def __init__(self, proxy: Proxy, pid: int) -> None:
        def heal() -> None:
            proxy.behave("pass")

        self.url = proxy.url
        self.faults = (
            Fault("frozen", lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)),
            Fault(f"{SLOW_SECONDS * 1000:.0f} ms slow", lambda: proxy.behave("slow", SLOW_SECONDS), heal),
            Fault("silent", lambda: proxy.behave("blackhole"), heal),
            Fault("refused", lambda: proxy.behave("refuse"), heal),
        )

    def duration(self, fault_seconds: float, calm_seconds: float) -> float:
        return calm_seconds + len(self.faults) * (fault_seconds + calm_seconds)

    async def fail(self, fault_seconds: float, calm_seconds: float) -> list[Episode]:
        """Begin and end each fault in turn, with calm before, between and after them."""
        episodes = []
        for fault in self.faults:
            await asyncio.sleep(calm_seconds)
            began_at = time.perf_counter()
            fault.begin()
            try:
                await asyncio.sleep(fault_seconds)
            finally:
                fault.end()
            episodes.append(Episode(fault.name, began_at, time.perf_counter()))
        return episodes


@contextmanager
def failing_redis() -> Iterator[FailingRedis]:
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        pid = int(redis.info("server")["process_id"])
    with Proxy(os.environ["REDIS_URL"]) as proxy:
        yield FailingRedis(proxy, pid)
