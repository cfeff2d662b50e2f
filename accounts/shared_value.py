"""A value from a provider, such as a token. All processes share it, and one process at a time fetches it.

    fresh    all callers use it
    due      all callers still use it, while one thread of one process fetches the next one
    expired  one thread fetches; all callers wait, each until its own deadline

The lock for a fetch expires, so another process takes over from one that dies. A late process does not overwrite the
result of a later fetch. Fetches begin at least a second apart. Processes share failures and the pause after them.
Without Redis, each process fetches for itself, and starts from the last state that it saw.
"""

from __future__ import annotations

import contextvars
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import structlog
from redis import RedisError
from redis.lock import Lock

from accounts.shared_state import MAX_PAUSE_SECONDS, State, Value
from farmlokal.redis.client import run
from farmlokal.redis.scripts import key, load
from farmlokal.single_flight import Flights, fly, release, try_lock

FETCH_SECONDS = 2.0  # for one call to the provider
LOCK_SECONDS = 3.0
APART_SECONDS = 1.0  # from one call to the next
MAX_BACKOFF_SECONDS = 8.0  # after failures in a row
KEPT_SECONDS = 25 * 3600
IMPATIENT_SECONDS = 0.25
TOO_SLOW = "the provider does not answer in time"

READ_STATE = load(__file__, "read_state.lua")
STORE_STATE = load(__file__, "store_state.lua")

logger = structlog.get_logger(__name__)


class UnavailableError(Exception):
    """There is no value now. The text gives the reason without secrets.

    retry_after: seconds until there may be one. A fetch may say 0: then the pause grows with the failures in a row.
    """

    def __init__(self, reason: str, retry_after: float = 0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class SharedValue:
    """fetch: called with a deadline (time.monotonic); raises UnavailableError."""

    def __init__(self, name: str, fetch: Callable[[float], Value]) -> None:
        self._name = name
        self._fetch = fetch
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Forget everything, like a new process."""
        self._state = State()  # the newest that this process has seen
        self._rejected = 0  # the number of the newest value that this process has rejected
        submit = ThreadPoolExecutor(1, f"fetch-{self._name}").submit
        # A fetch belongs to the trace of the request that starts it, and so do its log lines.
        self._flights: Flights[None] = Flights(lambda fetch: submit(contextvars.copy_context().run, fetch))

    def get(self, ends: float, newer_than: int = 0, *, is_patient: bool = True) -> Value:
        """The value, before `ends` (time.monotonic). Raises UnavailableError; is_patient: after retries."""
        while (value := self._usable(newer_than)) is None:
            left = max(ends - time.monotonic(), 0)
            failure = self._state.failure
            try:
                self._renew(newer_than).result(min(left, IMPATIENT_SECONDS) if failure and not is_patient else left)
            except TimeoutError:
                raise UnavailableError(failure or TOO_SLOW, APART_SECONDS) from None
            except UnavailableError as error:
                if not is_patient or time.monotonic() + error.retry_after >= ends:
                    raise
                time.sleep(error.retry_after)
        self._renew_if_due(value)
        return value

    def current(self) -> int:
        """The number of the value in memory, or 0. Does not wait."""
        if (value := self._usable()) is None:
            return 0
        self._renew_if_due(value)
        return value.number

    def look(self) -> State:
        """The newest state, without using or fetching the value."""
        answer = run(READ_STATE, [key(self._name)])
        return max(self._state, State.unpacked(answer[1] if answer else b""), key=lambda state: state.number)

    @property
    def early_at(self) -> float:
        """When a usable value was last replaced early, because a caller needed a newer one (wall clock)."""
        return self._state.early_at

    def reject(self, text: str) -> None:
        """Stop using the current value if this is its text."""
        value = self._usable()
        if value and value.text == text:
            self._rejected = value.number

    def _usable(self, newer_than: int = 0) -> Value | None:
        value = self._state.value
        is_usable = value and value.number > max(newer_than, self._rejected) and time.time() < value.expires
        return value if is_usable else None

    def _renew_if_due(self, value: Value) -> None:
        if time.time() >= value.due and not self._state.pause:
            self._renew(0)

    def _renew(self, newer_than: int) -> Future[None]:
        ends = time.monotonic() + LOCK_SECONDS + FETCH_SECONDS
        return self._flights.join(self._name, lambda: fly(lambda: self._look(newer_than, ends), ends))

    def _look(self, newer_than: int, ends: float) -> Callable[[], None] | None:
        """Raises UnavailableError."""
        has_redis = self._read()
        state, value = self._state, self._usable(newer_than)
        if value and (state.pause or time.time() < value.due):
            return lambda: None
        if state.pause and state.failure:
            raise UnavailableError(state.failure, state.pause)
        if time.monotonic() > ends:
            raise UnavailableError(TOO_SLOW, APART_SECONDS)
        if state.pause:
            return None
        return self._turn(newer_than) if has_redis else partial(self._fetch_next, newer_than)

    def _turn(self, newer_than: int) -> Callable[[], None] | None:
        before = self._state
        try:
            lock = try_lock(f"{self._name}:lock", LOCK_SECONDS)
        except RedisError:
            return partial(self._fetch_next, newer_than)
        now = self._read() if lock else 0
        if lock and self._state != before:  # another process has fetched meanwhile
            release(lock)
            return None
        return partial(self._fetch_next, newer_than, now, lock) if lock else None

    def _read(self) -> int:
        """Redis's time in microseconds; 0 without Redis. If it has lost its data, our own state stays."""
        answer = run(READ_STATE, [key(self._name)], insists=True)
        if answer is None:
            return 0
        state = State.unpacked(answer[1])
        if state.number >= self._state.number:
            self._state = state
        return int(answer[0])

    def _fetch_next(self, newer_than: int, now: int = 0, lock: Lock | None = None) -> None:
        number = max(now or time.time_ns() // 1000, self._state.number + 1)
        early_at = time.time() if newer_than else self._state.early_at
        state = self._state = replace(self._fetched(number), early_at=early_at)
        if lock:
            run(STORE_STATE, [key(self._name)], [number, state.packed(), KEPT_SECONDS], insists=True)
            release(lock)
            self._read()  # if we are late, there is a newer state
        if self._state.failure:
            raise UnavailableError(self._state.failure, self._state.pause)

    def _fetched(self, number: int) -> State:
        began, before = time.time(), self._state
        try:
            value = self._fetch(time.monotonic() + FETCH_SECONDS)
        except Exception as error:  # any error: the other processes wait for the result, and share the failure
            if not isinstance(error, UnavailableError):
                logger.exception("fetch_broken", name=self._name)
                error = UnavailableError("what the provider says cannot be read")
            logger.warning("fetch_failed", name=self._name, reason=str(error))
            backoff = APART_SECONDS + random.random() * min(2.0**before.failures, MAX_BACKOFF_SECONDS - 1)  # noqa: S311
            pause = min(max(error.retry_after or backoff, APART_SECONDS), MAX_PAUSE_SECONDS)
            return State(number, before.value, time.time() + pause, str(error), min(before.failures + 1, 10))
        return State(number, replace(value, number=number), began + APART_SECONDS)
