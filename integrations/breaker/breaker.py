"""A circuit breaker that all processes of all machines share through Redis.

    closed     Calls go out. It opens if half of the last 50 calls failed, of at least 25 and none older than 60 s.
    open       Calls fail at once, for 5 s. Each further time lasts twice as long, up to 60 s.
    half-open  One call, the probe, goes out; all others fail. The breaker closes, or opens again. If the process of the
               probe dies, another probe goes out when the time of the first is over.
    held       An operator keeps it open until an operator closes it.

A slow answer is a failure. A refusal (4xx) counts as nothing, except that it lets a probe close the breaker. Each
decision is one script, so no process holds a lock while it calls. While Redis is away, pybreaker decides for each
process (local.py), and there are no retries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN

from farmlokal.redis.client import run
from farmlokal.redis.scripts import Script, key, load
from integrations.breaker.local import LocalBreaker
from integrations.exceptions import BreakerOpenError, CallError, NoRetryError, Outcome

T = TypeVar("T")

MICROSECONDS = 1_000_000
MEMORY_SECONDS = 60.0  # so that an idle process does not bring back what an operator has long ended
HELD, HELD_WAIT_SECONDS = "held", 60
IS_OPEN, MAY_CALL, NO_RETRY, CANNOT_WRITE = 0, 1, 2, -1  # verdicts of the scripts

ADMIT_CALL = load(__file__, "admit_call.lua")
RECORD = load(__file__, "record.lua")
FORCE = load(__file__, "force.lua")
SHOW = load(__file__, "show.lua")


class Seen(NamedTuple):
    """The last state that this process saw; state.lua describes it."""

    epoch: int = 0
    state: str = STATE_CLOSED
    ends: int = 0
    streak: int = 0


class Status(NamedTuple):
    state: str  # closed, open, half-open or held
    wait_seconds: float  # until a probe may go out
    streak: int
    calls: int
    failures: int

    @property
    def text(self) -> str:
        if self.state == HELD:
            return "open until you close it"
        if self.state == STATE_OPEN:
            times = "time" if self.streak == 1 else "times in a row"
            return f"open for another {self.wait_seconds:.1f} s; it has opened {self.streak} {times}"
        if self.state == STATE_HALF_OPEN:
            return "half-open: one probe decides"
        return f"closed; {self.failures} of the last {self.calls} calls failed"


class NotSharedError(Exception):
    """Redis is away, so no other process would hear of a change."""


class Breaker:
    """permit_seconds: how long a probe may take before there is another."""

    def __init__(self, name: str, is_slow: Callable[[Any], bool], permit_seconds: Callable[[], float]) -> None:
        self.name = name
        self.key = key("breaker", name)
        self._keys = [self.key, key("breaker", name, "outcomes")]
        self._is_slow = is_slow
        self._permit_seconds = permit_seconds
        self.forget()

    def forget(self) -> None:
        """Forget what this process has seen, as if it had just started."""
        self._seen, self._seen_at = Seen(), -math.inf
        self._local = LocalBreaker(self.name)

    def call(self, function: Callable[[], T], *, is_retry: bool = False) -> T:
        """Raises what the function raises, BreakerOpenError, or NoRetryError if there are too many retries."""
        record = self.admit(is_retry=is_retry)
        outcome: Outcome = "nothing"
        try:
            result = function()
        except CallError as error:
            outcome = error.outcome
            raise
        else:
            outcome = "bad" if self._is_slow(result) else "good"
            return result
        finally:
            record(outcome)

    def admit(self, *, is_retry: bool = False) -> Callable[[Outcome], object]:
        """The function that records the outcome. Raises BreakerOpenError or NoRetryError."""
        answer = self._ask(ADMIT_CALL, int(self._permit_seconds() * MICROSECONDS), int(is_retry))
        if answer is None:
            return self._admit_alone(is_retry=is_retry)
        verdict, wait, epoch, *_ = answer
        if verdict == IS_OPEN:
            raise BreakerOpenError("the breaker is open", wait / MICROSECONDS)
        if verdict == NO_RETRY:
            raise NoRetryError("there were too many retries")
        return partial(self._ask, RECORD, epoch)

    def _admit_alone(self, *, is_retry: bool) -> Callable[[Outcome], object]:
        if self._seen.state == HELD:
            raise BreakerOpenError("an operator holds the breaker open", HELD_WAIT_SECONDS)
        if is_retry:
            raise NoRetryError("without Redis there is no budget for retries")
        return self._local.admit()

    def _ask(self, script: Script, *arguments: Any) -> Sequence[Any] | None:
        """What the script returns; None without Redis."""
        answer = run(script, self._keys, [*self._remembered(), *arguments])
        if answer is None or answer[0] == CANNOT_WRITE:
            return None
        self.see(answer[2:6])
        return answer  # type: ignore[no-any-return]

    def _remembered(self) -> Seen:
        return self._seen if time.monotonic() - self._seen_at < MEMORY_SECONDS else Seen()

    def see(self, fields: Sequence[Any]) -> None:
        """Remember epoch, state, ends and streak, in case Redis goes away next."""
        epoch, state, ends, streak = fields
        seen = Seen(int(epoch), state.decode(), int(ends), int(streak))
        if seen.epoch >= self._remembered().epoch:  # threads may get their answers in another order
            self._seen, self._seen_at = seen, time.monotonic()
            self._local.follow(STATE_OPEN if seen.state == HELD else seen.state)

    @property
    def state(self) -> str:
        """closed, open or half-open, as this process saw it last."""
        return self._local.state

    def current_state(self) -> str:
        """The same as all processes see it; without Redis, as this one does."""
        self.status()
        return self.state

    def status(self) -> Status | None:
        """None without Redis. Changes nothing."""
        answer = self._ask(SHOW)
        if answer is None:
            return None
        _, wait, _, state, _, streak, calls, failures = answer
        return Status(state.decode(), wait / MICROSECONDS, streak, calls, failures)

    def hold_open(self) -> None:
        """Until close() or reset(). All three raise NotSharedError without Redis."""
        self._force(HELD)

    def close(self) -> None:
        self._force(STATE_CLOSED)

    def reset(self) -> None:
        """Close it, and forget how often it has opened and how many retries there were."""
        self._force(STATE_CLOSED, is_reset=True)

    def _force(self, state: str, *, is_reset: bool = False) -> None:
        if self._ask(FORCE, state, int(is_reset)) is None:
            raise NotSharedError("Redis does not answer, or accepts no writes")
