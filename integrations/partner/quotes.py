"""Quotes, for as few calls to the partner as possible, and while it is down the last good one.

A quote is fresh for 30 s. Of all who ask for the same one at the same moment, one calls: of a process's threads the
first, and of the processes the one that holds the quote's lock in Redis. The others get what it brings, be it a
failure. The last good quote is kept for a day. Without Redis each process has its own quotes, also fresh for 30 s.
"""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import Future
from dataclasses import asdict, dataclass

import orjson

from farmlokal.http.problems import Problem
from farmlokal.recent import Recent
from farmlokal.redis.client import run, until
from farmlokal.redis.scripts import CLOCK_LUA, Script, key
from integrations.breaker import MICROSECONDS, WAIT_LUA
from integrations.partner.client import TOO_SLOW, Quote, client, fetch_quote, unavailable

FRESH_SECONDS = 30
KEPT_SECONDS = 24 * 3600
TOLD_SECONDS = 5  # for which those who wait are told of a failure
LOCK_MARGIN_SECONDS = 0.5  # beyond the caller's deadline
POLL_SECONDS = 0.005  # at first, twice as long each time
MAX_POLL_SECONDS = 0.05
MAX_REMEMBERED = 1000
LASTING = {"partner-unavailable", "partner-timeout"}  # failures that the last good quote stands in for

# Keys of both: quote lock; of LOOK the breaker's, too. Quote, a hash: quote, made (when, by Redis's clock), failure,
# failed (when).
# LOOK | owner lock_ms fresh_us since -> {quote, is fresh, us until the breaker lets a probe go, failure since then, has
# the lock, now, and the breaker's state where it is open}
LOOK = Script(
    CLOCK_LUA
    + WAIT_LUA
    + """
local quote, made, failure, failed = unpack(redis.call('HMGET', KEYS[1], 'quote', 'made', 'failure', 'failed'))
local age = now - tonumber(made or 0)
local stamp = string.format('%.0f', now)
if quote and age >= 0 and age < tonumber(ARGV[3]) then return {quote, 1, 0, '', 0, stamp} end
local wait, seen = breaker_wait(KEYS[3])
if wait > 0 then return {quote or '', 0, wait, '', 0, stamp, unpack(seen)} end
if failed and tonumber(ARGV[4]) > 0 and tonumber(failed) > tonumber(ARGV[4]) then
  return {quote or '', 0, 0, failure, 0, stamp}
end
local locked = redis.pcall('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
return {quote or '', 0, 0, '', type(locked) == 'table' and (locked.ok or locked.err) and 1 or 0, stamp}
"""
)

# LEAVE | owner quote failure kept_s told_s: what it has come to, the others ''.
LEAVE = Script(
    CLOCK_LUA
    + """
local stamp = string.format('%.0f', now)
if ARGV[2] ~= '' then
  redis.pcall('HSET', KEYS[1], 'quote', ARGV[2], 'made', stamp)
  redis.call('EXPIRE', KEYS[1], ARGV[4])
elseif ARGV[3] ~= '' then
  redis.pcall('HSET', KEYS[1], 'failure', ARGV[3], 'failed', stamp)
  if redis.call('TTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[5]) end
end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return {1}
"""
)


@dataclass(frozen=True)
class Quoted:
    quote: Quote
    quoted_at: float  # wall clock, seconds

    @classmethod
    def unpacked(cls, packed: bytes) -> Quoted | None:
        return cls(**orjson.loads(packed)) if packed else None


class Flight:
    """One of a process that is on its way to a quote, with others waiting for it."""

    def __init__(self) -> None:
        self.landing: Future[Quoted] = Future()
        self.last_good: Quoted | None = None


_flights: dict[str, Flight] = {}
_lock = threading.Lock()
_seen: Recent[str, Quoted] = Recent(MAX_REMEMBERED)


def get_quote(product_id: int, pincode: str, ends: float) -> tuple[Quoted, bool]:
    """The quote, and whether it is stale; not later than `ends` (time.monotonic).

    Raises the Problem partner-unavailable, partner-timeout or partner-rejected.
    """
    name = f"{product_id}:{pincode}"
    with _lock:
        flight = _flights.get(name)
        is_first = flight is None
        if flight is None:
            flight = _flights[name] = Flight()
    try:
        if is_first:
            _fly(flight, name, product_id, pincode, ends)
        return flight.landing.result(max(ends - time.monotonic(), 0)), False
    except TimeoutError:
        problem = Problem("partner-timeout", TOO_SLOW)
    except Problem as error:
        problem = error
    last_good = flight.last_good or _seen.get(name)
    if problem.code in LASTING and last_good and time.time() - last_good.quoted_at < KEPT_SECONDS:
        return last_good, True
    raise problem


def _fly(flight: Flight, name: str, product_id: int, pincode: str, ends: float) -> None:
    try:
        with until(ends):
            found = _shared(flight, name, product_id, pincode, ends)
        _seen.put(name, found)
        flight.landing.set_result(found)
    except BaseException as error:
        flight.landing.set_exception(error)
        if not isinstance(error, Problem):
            raise
    finally:
        with _lock:
            del _flights[name]


def _shared(flight: Flight, name: str, product_id: int, pincode: str, ends: float) -> Quoted:
    """Out of Redis, or by a call whose result is left there for all."""
    keys, owner, since, poll = [key("quote", name), key("quote", name, "lock")], uuid.uuid4().hex, 0, POLL_SECONDS
    record = client.breaker.storage.key
    while True:
        left = ends - time.monotonic()
        if left <= 0:
            raise Problem("partner-timeout", TOO_SLOW)
        lock_ms, fresh_us = int((left + LOCK_MARGIN_SECONDS) * 1000), FRESH_SECONDS * MICROSECONDS
        looked = run(LOOK, [*keys, record], [owner, lock_ms, fresh_us, since])
        if looked is None:
            return _alone(name, product_id, pincode, ends)
        packed, is_fresh, wait, failure, has_lock, now, *breaker_state = looked
        kept = Quoted.unpacked(packed)
        if kept and is_fresh:
            return kept
        flight.last_good = kept
        if wait:
            client.breaker.see(breaker_state)
            raise unavailable(wait / MICROSECONDS)
        if failure:
            code, detail, headers = orjson.loads(failure)
            raise Problem(code, detail, headers=headers)
        if has_lock:
            return _called(keys, owner, product_id, pincode, ends)
        since = since or int(now)
        time.sleep(min(poll, max(ends - time.monotonic(), 0)))
        poll = min(poll * 2, MAX_POLL_SECONDS)


def _alone(name: str, product_id: int, pincode: str, ends: float) -> Quoted:
    """Without Redis: the process's own quote while it is fresh, else a call."""
    seen = _seen.get(name)
    if seen and 0 <= time.time() - seen.quoted_at < FRESH_SECONDS:
        return seen
    return Quoted(fetch_quote(product_id, pincode, ends), time.time())


def _called(keys: list[str], owner: str, product_id: int, pincode: str, ends: float) -> Quoted:
    packed = failure = b""
    try:
        found = Quoted(fetch_quote(product_id, pincode, ends), time.time())
    except Problem as problem:
        failure = orjson.dumps([problem.code, str(problem.detail), dict(problem.headers)])
        raise
    else:
        packed = orjson.dumps(asdict(found))
        return found
    finally:
        run(LEAVE, keys, [owner, packed, failure, KEPT_SECONDS, TOLD_SECONDS])
