"""The public keys of the provider whose tokens our consumers bring (a JWKS, RFC 7517).

All processes share the set, for five minutes. A key that is not in it may be new: then the set is asked for anew, once
a minute at most, however many tokens name keys that nobody has.
"""

from __future__ import annotations

import json
import random
import time
from functools import lru_cache
from http import HTTPStatus

from django.conf import settings
from jwt import PyJWK, PyJWKSet, PyJWTError

from accounts.shared_value import APART_SECONDS, FETCH_SECONDS, Fetched, FetchError, Kept, Refreshed
from farmlokal.outbound.client import OutboundError, call
from farmlokal.redis.client import run
from farmlokal.redis.scripts import Script, key

KEPT_SECONDS = 300
AHEAD_SECONDS = 60
ANEW_SECONDS = 60
RECENT_SECONDS = FETCH_SECONDS + APART_SECONDS  # an answer may still be on its way
ALGORITHMS = {"RS256", "ES256"}

# CLAIM anew record | anew_ms recent_ms number -> {1} where a set that is newer than `number` is worth a try: there is
# one, nobody has asked anew for a minute, or somebody has just asked because of this very set.
CLAIM = Script(
    """
if tonumber(redis.call('HGET', KEYS[2], 'number') or 0) > tonumber(ARGV[3]) then return {1} end
local claimed = redis.pcall('SET', KEYS[1], ARGV[3], 'NX', 'PX', ARGV[1])
if type(claimed) == 'table' and claimed.ok then return {1} end
local is_recent = redis.call('PTTL', KEYS[1]) > ARGV[1] - ARGV[2]
if is_recent and redis.call('GET', KEYS[1]) == ARGV[3] then return {1} end
return {0}
"""
)


class UnknownKeyError(Exception):
    """No key of the set may have signed this."""


class _Anew:
    """When this process has last asked for a new set: for as long as Redis is away."""

    claimed_at = 0.0


def key_for(algorithm: str, key_id: str | None, ends: float) -> tuple[PyJWK, int]:
    """The key, and the number of the set that it is of; raises UnknownKeyError, and UnavailableError where no set is to
    be had. key_id may be missing where the set has but one key of that kind."""
    asked_at = time.time()
    kept = SET.get(ends, is_patient=False)
    while (found := _select(kept, algorithm, key_id)) is None:
        if kept.expires - KEPT_SECONDS >= asked_at or not _may_ask_anew(kept.number):
            raise UnknownKeyError
        kept = SET.get(ends, newer_than=kept.number, is_patient=False)
    return found, kept.number


def current() -> int:
    """The number of the set that this process has; 0 where it has none that is still good."""
    return SET.current()


def _select(kept: Kept, algorithm: str, key_id: str | None) -> PyJWK | None:
    fitting = [found for found in _parsed(kept.value) if _fits(found, algorithm)]
    if key_id is None:
        return fitting[0] if len(fitting) == 1 else None
    return next((found for found in fitting if found.key_id == key_id), None)


def _fits(found: PyJWK, algorithm: str) -> bool:
    return bool(found.algorithm_name == algorithm and found.public_key_use in (None, "sig"))


def _may_ask_anew(number: int) -> bool:
    times = [int(ANEW_SECONDS * 1000), int(RECENT_SECONDS * 1000)]
    claimed = run(CLAIM, [key("jwks", "anew"), key("jwks")], [*times, number])
    if claimed is not None:
        return bool(claimed == [1])
    now = time.monotonic()
    if now - _Anew.claimed_at < ANEW_SECONDS:
        return False
    _Anew.claimed_at = now
    return True


@lru_cache(maxsize=4)
def _parsed(text: str) -> list[PyJWK]:
    return [found for found in PyJWKSet.from_dict(json.loads(text)).keys if found.algorithm_name in ALGORITHMS]


def _fetched(ends: float) -> Fetched:
    asked_at = time.time()
    try:
        answer = call("GET", settings.OAUTH_JWKS_URL, ends=ends, headers={"Accept": "application/json"})
    except OutboundError as error:
        raise FetchError(f"the provider's keys cannot be read ({error})") from error
    if answer.status != HTTPStatus.OK:
        raise FetchError(f"the provider answers {answer.status} for its keys")
    try:
        text = answer.body.decode()
        _parsed(text)
    except (ValueError, TypeError, AttributeError, RecursionError, PyJWTError) as error:
        raise FetchError("the provider's keys are no JWKS") from error
    expires = asked_at + KEPT_SECONDS
    return Fetched(text, expires, expires - AHEAD_SECONDS * random.uniform(0.5, 1))  # noqa: S311  # no secret


SET = Refreshed("jwks", _fetched)
