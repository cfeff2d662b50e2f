"""Delivery quotes, with few calls to the partner. The last good quote stands in while the partner is down.

A quote is fresh for 30 s, and kept for a day. Of all callers that want the same quote at the same moment, one calls the
partner; the others share its result, which may be a failure. Without Redis each process has its own quotes.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass
from typing import NamedTuple

import orjson

from farmlokal.http.problems import Problem
from farmlokal.recent import Recent
from farmlokal.redis.client import run, until
from farmlokal.redis.scripts import key, load
from farmlokal.single_flight import Flights, wait_for_turn
from integrations.breaker.breaker import MICROSECONDS
from integrations.partner.client import TOO_SLOW, Quote, client, fetch_quote, unavailable

FRESH_SECONDS = 30
KEPT_SECONDS = 24 * 3600
SHARED_FAILURE_SECONDS = 5  # for the callers that wait for it
LOCK_MARGIN_SECONDS = 0.5  # beyond the caller's deadline
MAX_REMEMBERED = 1000
PASSING = {"partner-unavailable", "partner-timeout"}  # failures for which the last good quote stands in

LOOK = load(__file__, "look.lua")
LEAVE = load(__file__, "leave.lua")


@dataclass(frozen=True)
class Quoted:
    quote: Quote
    quoted_at: float  # wall clock, seconds

    @property
    def age_seconds(self) -> float:
        return time.time() - self.quoted_at


class Look(NamedTuple):
    fresh: Quoted | None = None
    may_call: bool = False  # this process has the lock, or Redis is away

    @property
    def must_wait(self) -> bool:
        return not (self.fresh or self.may_call)


_flights: Flights[Quoted] = Flights()
_last_good: Recent[str, Quoted] = Recent(MAX_REMEMBERED)


def reset() -> None:
    """Forget the quotes of this process."""
    _last_good.clear()


def get_quote(product_id: int, pincode: str, ends: float) -> tuple[Quoted, bool]:
    """The quote, and whether it is stale; not later than `ends` (time.monotonic).

    Raises the Problem partner-unavailable, partner-timeout or partner-rejected.
    """
    flight = Flight(product_id, pincode, ends)
    try:
        return _flights.join(flight.name, flight.quote).result(max(ends - time.monotonic(), 0)), False
    except TimeoutError:
        problem = Problem("partner-timeout", TOO_SLOW)
    except Problem as error:
        problem = error
    last_good = _last_good.get(flight.name)
    if problem.code in PASSING and last_good and last_good.age_seconds < KEPT_SECONDS:
        return last_good, True
    raise problem


class Flight:
    """How the first of this process's threads that want a quote gets it."""

    def __init__(self, product_id: int, pincode: str, ends: float) -> None:
        self.name = f"{product_id}:{pincode}"
        self._product_id, self._pincode, self._ends = product_id, pincode, ends
        self._keys = [key("quote", self.name), key("quote", self.name, "lock")]
        self._owner = uuid.uuid4().hex
        self._since = 0  # the first look, by Redis's clock: later failures are shared

    def quote(self) -> Quoted:
        with until(self._ends):
            look = wait_for_turn(self._look, self._ends)
            if look.must_wait:
                raise Problem("partner-timeout", TOO_SLOW)
            quoted = look.fresh or self._call()
        _last_good.put(self.name, quoted)
        return quoted

    def _look(self) -> Look:
        lock_ms = int((max(self._ends - time.monotonic(), 0) + LOCK_MARGIN_SECONDS) * 1000)
        arguments = [self._owner, lock_ms, FRESH_SECONDS * MICROSECONDS, self._since]
        answer = run(LOOK, [*self._keys, client.breaker.key], arguments)
        if answer is None:
            last_good = _last_good.get(self.name)
            is_fresh = last_good and 0 <= last_good.age_seconds < FRESH_SECONDS
            return Look(fresh=last_good) if is_fresh else Look(may_call=True)
        packed, is_fresh, breaker_wait, failure, is_locked, now, *breaker_state = answer
        quoted = Quoted(**orjson.loads(packed)) if packed else None
        if is_fresh:
            return Look(fresh=quoted)
        if quoted:
            _last_good.put(self.name, quoted)
        if breaker_wait:
            client.breaker.see(breaker_state)
            raise unavailable(breaker_wait / MICROSECONDS)
        if failure:
            raise _unpacked(failure)
        self._since = self._since or int(now)
        return Look(may_call=bool(is_locked))

    def _call(self) -> Quoted:
        packed = failure = b""
        try:
            quoted = Quoted(fetch_quote(self._product_id, self._pincode, self._ends), time.time())
            packed = orjson.dumps(asdict(quoted))
        except Problem as problem:
            failure = _packed(problem)
            raise
        else:
            return quoted
        finally:
            run(LEAVE, self._keys, [self._owner, packed, failure, KEPT_SECONDS, SHARED_FAILURE_SECONDS])


def _packed(problem: Problem) -> bytes:
    return orjson.dumps([problem.code, str(problem.detail), dict(problem.headers)])


def _unpacked(failure: bytes) -> Problem:
    code, detail, headers = orjson.loads(failure)
    return Problem(code, detail, headers=headers)
