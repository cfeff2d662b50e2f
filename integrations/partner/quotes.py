"""Delivery quotes, with few calls to the partner. The last good quote stands in while the partner is down.

A quote is fresh for 30 s, and kept for a day. Of all callers that want the same quote at the same moment, one calls the
partner; the others share its result, which may be a failure. Without Redis each process has its own quotes.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from cachetools import LRUCache

from farmlokal.http.problems import Problem
from farmlokal.redis.client import run, until
from farmlokal.redis.scripts import load, spread_key, tag_of
from farmlokal.single_flight import Flights, fly
from integrations.breaker.breaker import MICROSECONDS
from integrations.partner.client import TOO_SLOW, Quote, client, fetch_quote, unavailable

FRESH_SECONDS = 30
KEPT_SECONDS = 24 * 3600
SHARED_FAILURE_SECONDS = 5  # for the callers that wait for it
LOCK_MARGIN_SECONDS = 0.5  # beyond the caller's deadline
MAX_REMEMBERED = 1000
PASSING = {"partner-unavailable", "partner-timeout"}  # failures for which the last good quote stands in

FIND_QUOTE = load(__file__, "find_quote.lua")
STORE_QUOTE = load(__file__, "store_quote.lua")


@dataclass(frozen=True)
class Quoted:
    quote: Quote
    quoted_at: float  # wall clock, seconds


_last_good: LRUCache[str, Quoted] = LRUCache(MAX_REMEMBERED)  # that this process has seen
_lock = threading.Lock()
_flights: Flights[Quoted] = Flights()


def reset() -> None:
    """Forget the quotes of this process."""
    with _lock:
        _last_good.clear()


def get_quote(product_id: int, pincode: str, ends: float) -> tuple[Quoted, bool]:
    """The quote, and whether it is stale; before `ends` (time.monotonic).

    Raises the Problem partner-unavailable, partner-timeout or partner-rejected.
    """
    request = QuoteRequest(product_id, pincode, ends)
    try:
        return _flights.join(request.name, request.quote).result(max(ends - time.monotonic(), 0)), False
    except TimeoutError:
        problem = Problem("partner-timeout", TOO_SLOW)
    except Problem as error:
        problem = error
    last_good = _remembered(request.name, KEPT_SECONDS)
    if problem.code in PASSING and last_good:
        return last_good, True
    raise problem


def _remembered(name: str, max_age_seconds: float) -> Quoted | None:
    """A quote may be from the future, if the clock was set back. Then it is as old as it is early."""
    with _lock:
        quoted = _last_good.get(name)
    return quoted if quoted and abs(time.time() - quoted.quoted_at) < max_age_seconds else None


def _remember(name: str, quoted: Quoted) -> Quoted:
    with _lock:
        _last_good[name] = quoted
    return quoted


class QuoteRequest:
    def __init__(self, product_id: int, pincode: str, ends: float) -> None:
        self.name = f"{product_id}:{pincode}"
        self._product_id, self._pincode, self._ends = product_id, pincode, ends
        self._began = time.monotonic()
        quote_key, breaker_key = spread_key("quote", self.name), client.breaker.key
        self._keys = [quote_key, f"{quote_key}:lock"]
        # One script cannot ask a breaker on another node. Then _call() asks it.
        self._breaker_keys = [breaker_key] if tag_of(breaker_key) == tag_of(quote_key) else []
        self._owner = uuid.uuid4().hex

    def quote(self) -> Quoted:
        with until(self._ends):
            return _remember(self.name, fly(self._look, self._ends))

    def _look(self) -> Callable[[], Quoted] | None:
        now = time.monotonic()
        if now >= self._ends:
            raise Problem("partner-timeout", TOO_SLOW)
        lock_ms = int((self._ends - now + LOCK_MARGIN_SECONDS) * 1000)
        arguments = [self._owner, lock_ms, FRESH_SECONDS * MICROSECONDS, int((now - self._began) * MICROSECONDS)]
        answer = run(FIND_QUOTE, [*self._keys, *self._breaker_keys], arguments)
        if answer is None:
            fresh = _remembered(self.name, FRESH_SECONDS)
            return (lambda: fresh) if fresh else self._call
        packed, is_fresh, breaker_wait, failure, is_locked, *breaker_state = answer
        quoted = _remember(self.name, Quoted(**orjson.loads(packed))) if packed else None
        if quoted and is_fresh:
            return lambda: quoted
        if breaker_wait:
            client.breaker.see(breaker_state)
            raise unavailable(breaker_wait / MICROSECONDS)
        if failure:
            code, detail, headers = orjson.loads(failure)
            raise Problem(code, detail, headers=headers)
        return self._call if is_locked else None

    def _call(self) -> Quoted:
        packed = failure = b""
        try:
            quoted = Quoted(fetch_quote(self._product_id, self._pincode, self._ends), time.time())
            packed = orjson.dumps(quoted)
        except Problem as problem:
            failure = orjson.dumps([problem.code, str(problem.detail), dict(problem.headers)])
            raise
        else:
            return quoted
        finally:
            run(STORE_QUOTE, self._keys, [self._owner, packed, failure, KEPT_SECONDS, SHARED_FAILURE_SECONDS])
