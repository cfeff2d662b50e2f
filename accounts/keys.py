"""The public keys of the provider that issues our consumers' tokens (a JWKS, RFC 7517).

All processes share the key set for five minutes. A token may name a key that is newer than the set: then the set is
fetched early, once a minute at most, however many tokens name unknown keys.
"""

from __future__ import annotations

import json
import random
import time
from functools import lru_cache
from http import HTTPStatus

from django.conf import settings
from jwt import PyJWK, PyJWKSet, PyJWTError

from accounts.shared_state import Value
from accounts.shared_value import SharedValue, UnavailableError
from farmlokal.outbound.client import OutboundError, call

KEPT_SECONDS = 300
AHEAD_SECONDS = 60
EARLY_SECONDS = 60  # between two fetches because of unknown keys
ALGORITHMS = {"RS256", "ES256"}


class UnknownKeyError(Exception):
    """The key set has no such key."""


def key_for(algorithm: str, key_id: str | None, ends: float) -> tuple[PyJWK, int]:
    """The key, and the number of its key set. Without key_id: the only key of that kind.

    ends: the deadline (time.monotonic). Raises UnknownKeyError, or UnavailableError if there is no key set.
    """
    began = time.time()
    key_set = SET.get(ends, is_patient=False)
    while (key := _select(key_set, algorithm, key_id)) is None:
        is_new = key_set.expires - KEPT_SECONDS >= began
        if is_new or 0 <= time.time() - SET.early_at < EARLY_SECONDS:
            raise UnknownKeyError
        key_set = SET.get(ends, newer_than=key_set.number, is_patient=False)
    return key, key_set.number


def current() -> int:
    """The number of the key set in memory; 0 if it has none that is still good. Does not wait."""
    return SET.current()


def try_provider(ends: float) -> int:
    """Fetch the key set without storing it, before `ends` (time.monotonic).

    Returns the number of usable keys. Raises UnavailableError with the reason.
    """
    return len(_parsed(_fetched(ends).text))


def reset() -> None:
    """Forget everything, like a new process."""
    SET.reset()


def _select(key_set: Value, algorithm: str, key_id: str | None) -> PyJWK | None:
    candidates = [candidate for candidate in _parsed(key_set.text) if _fits(candidate, algorithm)]
    if key_id is None:
        return candidates[0] if len(candidates) == 1 else None
    return next((candidate for candidate in candidates if candidate.key_id == key_id), None)


def _fits(candidate: PyJWK, algorithm: str) -> bool:
    return bool(candidate.algorithm_name == algorithm and candidate.public_key_use in (None, "sig"))


@lru_cache(maxsize=4)
def _parsed(text: str) -> list[PyJWK]:
    return [key for key in PyJWKSet.from_dict(json.loads(text)).keys if key.algorithm_name in ALGORITHMS]


def _fetched(ends: float) -> Value:
    began = time.time()
    try:
        answer = call("GET", settings.OAUTH_JWKS_URL, ends=ends, headers={"Accept": "application/json"})
    except OutboundError as error:
        raise UnavailableError(f"the provider's keys cannot be read ({error})") from error
    if answer.status != HTTPStatus.OK:
        raise UnavailableError(f"the provider answers {answer.status} for its keys")
    try:
        text = answer.body.decode()
        _parsed(text)
    except (ValueError, TypeError, AttributeError, RecursionError, PyJWTError) as error:
        raise UnavailableError("the provider's keys are no JWKS") from error
    expires = began + KEPT_SECONDS
    return Value(text, expires, expires - AHEAD_SECONDS * random.uniform(0.5, 1))  # noqa: S311  # no secret


SET = SharedValue("jwks", _fetched)
