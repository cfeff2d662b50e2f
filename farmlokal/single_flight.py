"""Single flight: one caller computes a value, the others wait for it or use the stale value.

Flights joins the threads of one process; a lock in Redis joins processes. A script that looks a value up can take the
lock in the same round trip (single_flight.lua), try_lock costs one more. `fly` looks until it need not wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

from django.core.cache import caches
from redis import RedisError, exceptions
from redis.lock import Lock

from farmlokal.redis.client import Outages
from farmlokal.redis.nodes import MISPLACED

POLL_SECONDS = 0.005  # at first, doubled each time
MAX_POLL_SECONDS = 0.05

T = TypeVar("T")


class Flights(Generic[T]):
    """Threads that want the same value share one computation and its result, which may be an error.

    start: runs a function, by default in the first caller's thread.
    """

    def __init__(self, start: Callable[[Callable[[], None]], object] = lambda function: function()) -> None:
        self._start = start
        self._flights: dict[str, Future[T]] = {}
        self._lock = threading.Lock()

    def join(self, name: str, compute: Callable[[], T]) -> Future[T]:
        with self._lock:
            if name in self._flights:
                return self._flights[name]
            flight = self._flights[name] = Future()
        self._start(partial(self._run, name, flight, compute))
        return flight

    def _run(self, name: str, flight: Future[T], compute: Callable[[], T]) -> None:
        try:
            flight.set_result(compute())
        except BaseException as error:  # noqa: BLE001  # any error: the other threads wait for the result
            flight.set_exception(error)
        finally:
            with self._lock:
                del self._flights[name]


def fly(look: Callable[[], Callable[[], T] | None], ends: float) -> T:
    """look: returns the function that gives the value, or None to be called again. After `ends`, it must not wait."""
    pause = POLL_SECONDS
    while (compute := look()) is None:
        time.sleep(max(min(pause, ends - time.monotonic()), 0))
        pause = min(2 * pause, MAX_POLL_SECONDS)
    return compute()


def try_lock(name: str, seconds: float) -> Lock | None:
    """None if another process has the lock. Raises RedisError if Redis is away or stores nothing."""
    if Outages.is_silent:
        raise exceptions.TimeoutError("Redis is silent")
    cache: Any = caches["default"]
    try:
        lock: Lock = cache.lock(name, timeout=seconds)
        return lock if lock.acquire(blocking=False) else None
    except (exceptions.ConnectionError, exceptions.TimeoutError, *MISPLACED) as error:
        Outages.note(error)
        raise


def release(lock: Lock) -> None:
    """A lock that we cannot release expires."""
    with contextlib.suppress(RedisError):
        lock.release()
