"""How many calls of Django a pool of threads begins, and when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dev.testing.waiting import wait_until
from farmlokal.edge import django_pool
from farmlokal.edge.django_pool import ThreadPool

SCOPE = {"method": "GET", "path": "/", "query_string": b"", "http_version": "1.1", "scheme": "http", "headers": []}
THREADS, BUSY = 6, 2


class Blocked:
    """An application whose calls begin, and end when the test allows it."""

    def __init__(self) -> None:
        self.begun = 0
        self._may_end = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
        self.begun += 1
        assert self._may_end.acquire(timeout=60)
        start_response("204 No Content", [])
        yield b""

    def end(self, calls: int) -> None:
        self._may_end.release(calls)


def run(test: Callable[[ThreadPool, Blocked], Any]) -> None:
    application: Any = Blocked()
    asyncio.run(test(ThreadPool(application, THREADS, BUSY), application))


def begin(pool: ThreadPool, calls: int) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(pool.respond(SCOPE, wait_seconds=0.01)) for _ in range(calls)]


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def test_next_call_begins_when_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_pool, "TURN_WAIT_SECONDS", 60)

    async def test(pool: ThreadPool, application: Blocked) -> None:
        calls = begin(pool, BUSY + 2)
        for done in range(3):
            await until(lambda done=done: application.begun == BUSY + min(done, 2))  # type: ignore[misc]
            application.end(1)
            await until(lambda done=done: sum(call.done() for call in calls) == done + 1)  # type: ignore[misc]
        application.end(1)
        assert {response.status for response in await asyncio.gather(*calls)} == {204}

    run(test)


def test_calls_that_block_keep_no_thread_from_the_others() -> None:
    """As when MySQL is slow: all threads are used in the end, and no more."""

    async def test(pool: ThreadPool, application: Blocked) -> None:
        calls = begin(pool, THREADS)
        await until(lambda: application.begun == THREADS)
        with pytest.raises(TimeoutError):
            await begin(pool, 1)[0]
        application.end(THREADS)
        await asyncio.gather(*calls)
        application.end(1)
        assert (await begin(pool, 1)[0]).status == 204

    run(test)
