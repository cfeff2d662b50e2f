"""Stock pybreaker for one process: it follows the shared state, and decides alone while Redis is away."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pybreaker
import structlog
from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreakerState

from integrations.exceptions import BreakerOpenError, FailedError, Outcome

MAX_FAILURES = 10  # in a row
OPEN_SECONDS = 5

logger = structlog.get_logger(__name__)


class Log(pybreaker.CircuitBreakerListener):
    def state_change(self, cb: Any, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState) -> None:
        log = logger.info if new_state.name == STATE_CLOSED else logger.warning
        log("breaker_state", name=cb.name, state=new_state.name, before=old_state.name if old_state else None)


class LocalBreaker:
    """pybreaker holds its lock during a call, so it learns the outcome after the call.

    It would count an excluded outcome as a success, so it learns only what counts.
    """

    def __init__(self, name: str) -> None:
        self._storage = pybreaker.CircuitMemoryStorage(STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            MAX_FAILURES, OPEN_SECONDS, listeners=[Log()], state_storage=self._storage, name=name
        )
        self._probe = threading.Lock()  # pybreaker would let every thread probe

    @property
    def state(self) -> str:
        return self._storage.state

    def follow(self, state: str) -> None:
        if state != self.state:
            {STATE_CLOSED: self._breaker.close, STATE_OPEN: self._breaker.open}.get(state, self._breaker.half_open)()
        self._storage.reset_counter()  # it counts failures only while Redis is away

    def admit(self) -> Callable[[Outcome], None]:
        """The function that records the outcome. Raises BreakerOpenError."""
        if self.state == STATE_CLOSED:
            return self._record
        opened_at = self._storage.opened_at if self.state == STATE_OPEN else None
        age = (dt.datetime.now(dt.UTC) - opened_at).total_seconds() if opened_at else OPEN_SECONDS
        is_waiting = 0 <= age < OPEN_SECONDS  # below 0, the clock was set back
        if is_waiting or not self._probe.acquire(blocking=False):
            raise BreakerOpenError("the breaker is open", OPEN_SECONDS)
        return self._record_probe

    def _record(self, outcome: Outcome) -> None:
        if self.state == STATE_CLOSED and outcome in {"good", "bad"}:
            self._count(outcome)

    def _record_probe(self, outcome: Outcome) -> None:
        try:
            if outcome != "nothing":
                if self.state == STATE_OPEN:
                    self._breaker.half_open()  # pybreaker would ask the clock again
                self._count(outcome)
        finally:
            self._probe.release()

    def _count(self, outcome: Outcome) -> None:
        def repeat() -> None:
            if outcome == "bad":
                raise FailedError("as the call did")

        with contextlib.suppress(FailedError, pybreaker.CircuitBreakerError):
            self._breaker.call(repeat)
