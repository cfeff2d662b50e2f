"""Writes that Redis does not know of yet: until it does, this process bypasses the cache."""

from __future__ import annotations

import atexit
import threading
import time

import structlog
from redis import RedisError

from farmlokal.redis import client
from farmlokal.redis.scripts import DELETE_KEY

RETRY_SECONDS = 0.05
EXIT_SECONDS = 3

logger = structlog.get_logger(__name__)


class PendingInvalidation:
    """A thread tells Redis to end the generation, and retries until Redis has done so.

    There are two causes. Redis did not answer when this process wrote. Or the connection was lost: Redis may come back
    with an old copy of its data, and a generation in it that has missed a write.
    """

    def __init__(self, generation_key: str) -> None:
        self._key = generation_key
        self._lock = threading.Lock()
        self._is_pending = False
        self._is_own_write = False
        self._requests = 0
        self._handled_losses = 0
        atexit.register(self.finish)

    @property
    def is_pending(self) -> bool:
        return self._is_pending

    def add_write(self) -> None:
        """This process wrote, and could not tell Redis."""
        self._begin(is_own_write=True)

    def check_connection(self) -> None:
        """Adds an invalidation if Redis was lost since the last call."""
        losses = client.Outages.losses
        if losses != self._handled_losses:
            self._begin(is_own_write=False)
            self._handled_losses = losses

    def finish(self) -> None:
        """At the end of the process: wait for Redis, EXIT_SECONDS at most. Only a later process would know."""
        ends = time.monotonic() + EXIT_SECONDS
        while self._is_pending and self._is_own_write:
            if time.monotonic() > ends:
                logger.error(
                    "redis_missed_a_write", error="cached pages may lack it until they expire, or a process starts"
                )
                return
            time.sleep(RETRY_SECONDS)

    def _begin(self, *, is_own_write: bool) -> None:
        with self._lock:
            self._requests += 1
            self._is_own_write |= is_own_write
            if not self._is_pending:
                threading.Thread(target=self._run, name="page-invalidation", daemon=True).start()
                self._is_pending = True

    def _run(self) -> None:
        while not self._invalidate():
            time.sleep(RETRY_SECONDS)

    def _invalidate(self) -> bool:
        requests = self._requests
        try:
            client.ask(DELETE_KEY, [self._key])  # also while Redis is silent: no request waits for this thread
        except RedisError:
            return False
        with self._lock:
            if self._requests != requests:  # a later request needs an invalidation of its own
                return False
            self._is_pending = self._is_own_write = False
            return True
