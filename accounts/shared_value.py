"""A value of a provider that all processes share, and that one of them at a time fetches anew.

It is answered from this process's memory, then from Redis, then by the provider. Its states:

    fresh    everybody uses it
    due      everybody goes on using it, while one thread of one process fetches the next one
    expired  one fetches, and all others wait, each until its own deadline

Who fetches holds a lock in Redis, which ends by itself: where its holder dies, another takes over. Each lock has a
number higher than all before it, which its value keeps; so a holder who is late never puts an older value in the place
of a newer one. A failure is kept too, with a time for which the provider is left alone; and no two fetches begin within
a second of each other, whatever happens.

Redis away: each process fetches for itself, as seldom. What Redis holds is encrypted and authenticated by SECRET_KEY.

Expiry is by the wall clock, which goes on while a machine sleeps. The clocks of machines may differ by less than the
margin that a value's expiry has.
"""

from __future__ import annotations

import base64
import os
import random
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from farmlokal.redis.client import run
from farmlokal.redis.scripts import CLOCK_LUA, Script, key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FETCH_SECONDS = 2.0  # for one call to the provider
LOCK_SECONDS = 3.0
APART_SECONDS = 1.0  # from one call to the next
MAX_PAUSE_SECONDS = 8.0  # after failures in a row
REFUSED_SECONDS = 60.0
MAX_HOLD_SECONDS = 300.0  # that a provider may ask for
POLL_SECONDS = 0.02
IMPATIENT_SECONDS = 0.25
KEPT_SECONDS = 25 * 3600
TOO_SLOW = "the provider does not answer in time"

logger = structlog.get_logger(__name__)

# Keys of all: record lock. The record is a hash: value, number, expires and due (wall clock, seconds); fence (number of
# the newest lock), fetched (when it was taken, by Redis's clock), hold (until when nobody may take it), why, failures.
LOOK = Script("return redis.call('HMGET', KEYS[1], 'number', 'value', 'expires', 'due')")

# TAKE | owner kept_ms lock_ms apart_us number -> {number of the lock, 0, ''}; or {'', ms, why}: ms to wait, 0 where
# there is another value than the one with `number` now, -1 while somebody has the lock, -2 where Redis takes no writes.
TAKE = Script(
    CLOCK_LUA
    + """
local number, fence, fetched, hold, why =
  unpack(redis.call('HMGET', KEYS[1], 'number', 'fence', 'fetched', 'hold', 'why'))
if (number or '0') ~= ARGV[5] then return {'', 0, ''} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'', -1, ''} end
hold, fetched = tonumber(hold or 0), tonumber(fetched or 0)
if fetched > now then hold, fetched = 0, 0 end  -- the clock was put back
local free_at = math.max(hold, fetched + ARGV[4])
if free_at > now then return {'', math.ceil((free_at - now) / 1000), why or ''} end
fence = string.format('%.0f', math.max(tonumber(fence or 0) + 1, now))
local locked = redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
if locked.err then return {'', -2, ''} end
redis.call('HSET', KEYS[1], 'fence', fence, 'fetched', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {fence, 0, ''}
"""
)
CANNOT_WRITE = -2
UNLOCK_LUA = "if redis.call('GET', KEYS[2]) == ARGV[1] then redis.pcall('DEL', KEYS[2]) end\n"

# KEEP | owner kept_ms number value expires due -> {1}; {0}: there is a newer one; {-1}: Redis takes no writes.
KEEP = Script(
    UNLOCK_LUA
    + """
if tonumber(redis.call('HGET', KEYS[1], 'number') or 0) > tonumber(ARGV[3]) then return {0} end
local kept = redis.pcall('HSET', KEYS[1], 'number', ARGV[3], 'value', ARGV[4], 'expires', ARGV[5], 'due', ARGV[6])
if type(kept) == 'table' then return {-1} end
redis.call('HDEL', KEYS[1], 'hold', 'why', 'failures')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1}
"""
)

# FAIL | owner kept_ms number hold_s chance max_pause_s why -> {ms to wait}: hold_s, or, where that is 0, what so many
# failures in a row deserve: chance (0 to 1) of a pause that doubles, above a second. {-1}: Redis takes no writes.
FAIL = Script(
    CLOCK_LUA
    + UNLOCK_LUA
    + """
if tonumber(redis.call('HGET', KEYS[1], 'number') or 0) > tonumber(ARGV[3]) then return {0} end
local failures = redis.pcall('HINCRBY', KEYS[1], 'failures', 1)
if type(failures) == 'table' then return {-1} end
local pause = tonumber(ARGV[4])
if pause == 0 then pause = 1 + ARGV[5] * math.min(2 ^ math.min(failures - 1, 10), ARGV[6] - 1) end
redis.call('HSET', KEYS[1], 'hold', string.format('%.0f', now + pause * 1000000), 'why', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {math.ceil(pause * 1000)}
"""
)

# DISCARD | number: nobody is to use the value with that number any more.
DISCARD = Script(
    "if redis.call('HGET', KEYS[1], 'number') == ARGV[1] then redis.call('HDEL', KEYS[1], 'value') end return {1}"
)


class FetchError(Exception):
    """The provider gave no value. The text says why, and has no secret; hold: seconds to leave the provider alone, 0
    where that is for the failures in a row to say."""

    def __init__(self, why: str, hold: float = 0) -> None:
        super().__init__(why)
        self.hold = min(max(hold, APART_SECONDS), MAX_HOLD_SECONDS) if hold else 0.0


class UnavailableError(Exception):
    """There is no value now; retry_after: seconds until there may be one."""

    def __init__(self, why: str, retry_after: float) -> None:
        super().__init__(why)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Fetched:
    value: str = field(repr=False)
    expires: float  # wall clock, seconds: nobody uses it from here on
    due: float  # a newer one is to be fetched from here on


@dataclass(frozen=True)
class Kept(Fetched):
    number: int  # higher than that of all older ones

    def is_usable(self, newer_than: int) -> bool:
        return self.number > newer_than and time.time() < self.expires


class Found(NamedTuple):
    number: int
    kept: Kept | None


class Refreshed:
    """fetch: called with the deadline (time.monotonic); raises FetchError."""

    def __init__(self, name: str, fetch: Callable[[float], Fetched]) -> None:
        self._name = name
        self._fetch = fetch
        self._keys = [key(name), key(name, "lock")]
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._held: Kept | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(1, f"fetch-{self._name}")
        self._renewal: Future[Kept] | None = None
        self._renew_at = 0.0  # by time.monotonic: when there is a due value to be thought of again
        self._alone_at = 0.0  # when this process may fetch without Redis
        self._alone_failures = 0
        self._rejected = 0  # the number of the newest value that somebody has refused
        self._failure = ""  # why this process had no success, where it had none the last time it tried

    def get(self, ends: float, newer_than: int = 0, *, is_patient: bool = True) -> Kept:
        """The value, not later than `ends` (time.monotonic); raises UnavailableError: after a failure at once, unless
        the caller is patient."""
        while True:
            newer_than = max(newer_than, self._rejected)
            held = self._held
            if held and held.is_usable(newer_than):
                self._renew_in_time(held)
                return held
            try:
                left = max(ends - time.monotonic(), 0)
                has_little_hope = self._failure and not is_patient
                self._renewing(newer_than).result(min(left, IMPATIENT_SECONDS) if has_little_hope else left)
            except TimeoutError:
                raise UnavailableError(self._failure or TOO_SLOW, APART_SECONDS) from None
            except UnavailableError as error:
                if not is_patient or time.monotonic() + error.retry_after >= ends:
                    raise UnavailableError(str(error), error.retry_after) from error
                time.sleep(error.retry_after)

    def current(self) -> int:
        """The number of the value that this process has, without waiting for anybody; 0 where it has none."""
        held = self._held
        if not (held and held.is_usable(self._rejected)):
            return 0
        self._renew_in_time(held)
        return held.number

    def discard(self, value: str) -> None:
        """Where that is still the value, it is one no more."""
        held = self._held
        if held and held.value == value:
            self._rejected = max(self._rejected, held.number)
            run(DISCARD, self._keys, [held.number], insists=True)

    def _renew_in_time(self, held: Kept) -> None:
        if time.time() >= held.due and time.monotonic() >= self._renew_at:
            self._renewing(self._rejected)

    def _renewing(self, newer_than: int) -> Future[Kept]:
        """One thread of this process at a time; what it comes by is held for all."""
        with self._lock:
            if self._renewal is None or self._renewal.done():
                self._renewal = self._threads.submit(self._renew, newer_than)
            return self._renewal

    def _renew(self, newer_than: int) -> Kept:
        try:
            kept = self._hold(self._renewed(newer_than))
        except UnavailableError as error:
            self._failure = str(error)
            raise
        else:
            self._failure = ""
            return kept
        finally:
            self._renew_at = time.monotonic() + APART_SECONDS * random.uniform(1, 2)  # noqa: S311  # no secret

    def _hold(self, kept: Kept) -> Kept:
        with self._lock:
            if not (self._held and self._held.is_usable(self._rejected)) or kept.number > self._held.number:
                self._held = kept
            return self._held

    def _renewed(self, newer_than: int) -> Kept:
        owner, patience = uuid.uuid4().hex, time.monotonic() + LOCK_SECONDS + FETCH_SECONDS
        while time.monotonic() < patience:
            found = self._look()
            if found is None:
                return self._fetched_alone(newer_than)
            usable = found.kept if found.kept and found.kept.is_usable(newer_than) else None
            if usable and time.time() < usable.due:
                return usable
            lock_ms, apart_us = int(LOCK_SECONDS * 1000), int(APART_SECONDS * 1_000_000)
            taken = self._ask(TAKE, [owner, KEPT_SECONDS * 1000, lock_ms, apart_us, found.number])
            if taken is None:
                return self._fetched_alone(newer_than)
            number, wait, why = taken
            if number:
                return self._fetched(owner, int(number))
            if wait == CANNOT_WRITE:
                return self._fetched_alone(newer_than)
            if usable:
                return usable  # another is at it, or has just failed
            if why:
                raise UnavailableError(why.decode(), wait / 1000)
            time.sleep(max(wait / 1000, POLL_SECONDS))  # it was fetched a moment ago, or is being fetched
        raise UnavailableError(TOO_SLOW, APART_SECONDS)

    def _called(self, ends: float) -> Fetched:
        try:
            return self._fetch(ends)
        except FetchError:
            raise
        except Exception as error:  # whatever it is, others wait for us, and shall leave the provider alone too
            logger.exception("fetch_broken", name=self._name)
            raise FetchError("what the provider says cannot be read") from error

    def _fetched(self, owner: str, number: int) -> Kept:
        try:
            fetched = self._called(time.monotonic() + FETCH_SECONDS)
        except FetchError as error:
            chance = random.random()  # noqa: S311  # no secret
            of_failure = [number, error.hold, chance, MAX_PAUSE_SECONDS, str(error)]
            answer = self._ask(FAIL, [owner, KEPT_SECONDS * 1000, *of_failure])
            logger.warning("fetch_failed", name=self._name, reason=str(error))
            wait = answer[0] / 1000 if answer and answer[0] >= 0 else error.hold or APART_SECONDS
            raise UnavailableError(str(error), wait) from error
        kept = Kept(fetched.value, fetched.expires, fetched.due, number)
        packed = _cipher().encrypt(fetched.value.encode())
        stored = self._ask(KEEP, [owner, KEPT_SECONDS * 1000, number, packed, fetched.expires, fetched.due])
        if stored == [0] and (found := self._look()) and found.kept and found.kept.is_usable(number):
            return found.kept  # somebody took over from us, and was faster
        return kept

    def _fetched_alone(self, newer_than: int) -> Kept:
        """Without Redis: as seldom as this process can see to by itself."""
        held, now = self._held, time.monotonic()
        if held and held.is_usable(newer_than) and (now < self._alone_at or time.time() < held.due):
            return held  # another thread has just fetched it
        if now < self._alone_at:
            raise UnavailableError("it was asked for a moment ago", self._alone_at - now)
        self._alone_at = now + APART_SECONDS
        try:
            fetched = self._called(now + FETCH_SECONDS)
        except FetchError as error:
            self._alone_failures = min(self._alone_failures + 1, 10)
            chance = random.random()  # noqa: S311  # no secret
            pause = error.hold or 1 + chance * min(2 ** (self._alone_failures - 1), MAX_PAUSE_SECONDS - 1)
            self._alone_at = time.monotonic() + pause
            logger.warning("fetch_failed", name=self._name, reason=str(error))
            raise UnavailableError(str(error), pause) from error
        self._alone_failures = 0
        return Kept(fetched.value, fetched.expires, fetched.due, time.time_ns() // 1000)

    def _look(self) -> Found | None:
        answer = self._ask(LOOK, [])
        if answer is None:
            return None
        number, packed, expires, due = answer
        if not (number and packed):
            return Found(int(number or 0), None)
        try:
            value = _cipher().decrypt(packed).decode()
        except InvalidToken:  # by a SECRET_KEY that is gone
            return Found(int(number), None)
        return Found(int(number), Kept(value, float(expires), float(due), int(number)))

    def _ask(self, script: Script, arguments: Sequence[Any]) -> Any:
        return run(script, self._keys, arguments, insists=True)


@lru_cache(maxsize=1)
def _cipher() -> MultiFernet:
    return MultiFernet([_key_of(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key_of(secret: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=b"farmlokal values of providers").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
