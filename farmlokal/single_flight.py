"""Single flight: one caller computes a value, the others wait for it or use the stale value.

Flights joins the threads of one process. A lock in Redis joins processes. A script that looks a value up can take the
lock in the same round trip (single_flight.lua); try_lock costs one more. wait_for_turn looks again while another
process has the lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from django.core.cache import caches
from redis import RedisError
from redis import exceptions as redis_exceptions

from farmlokal.redis.client import Outages

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.lock import Lock

POLL_SECONDS = 0.005  # at first, doubled each time
MAX_POLL_SECONDS = 0.05


class Look(Protocol):
    @property
    def must_wait(self) -> bool:
        """Another process computes the value, and no stale value serves."""


L = TypeVar("L", bound=Look)
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
        self._start(partial(self._land, name, flight, compute))
        return flight

    def _land(self, name: str, flight: Future[T], compute: Callable[[], T]) -> None:
        try:
            result = compute()
        except BaseException as error:  # noqa: BLE001  # whatever it is, others wait for it
            self._remove(name)
            flight.set_exception(error)
        else:
            self._remove(name)
            flight.set_result(result)

    def _remove(self, name: str) -> None:
        with self._lock:
            del self._flights[name]


def wait_for_turn(look: Callable[[], L], ends: float) -> L:
    """The last look: the first that need not wait, or the first after `ends` (time.monotonic)."""
    pause = POLL_SECONDS
    while (result := look()).must_wait and (left := ends - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, MAX_POLL_SECONDS)
    return result


def try_lock(name: str, seconds: float) -> Lock | None:
    """None if another process has the lock. Raises RedisError if Redis is away or stores nothing."""
    if Outages.is_silent:
        raise redis_exceptions.TimeoutError("Redis is silent")
    cache: Any = caches["default"]
    lock: Lock = cache.lock(name, timeout=seconds)
    try:
        return lock if lock.acquire(blocking=False) else None
    except (redis_exceptions.ConnectionError, redis_exceptions.TimeoutError) as error:
        Outages.note(error)
        raise


def release(lock: Lock) -> None:
    """A lock that we cannot release expires."""
    with contextlib.suppress(RedisError):
        lock.release()
