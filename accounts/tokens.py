"""Our own access tokens, by OAuth2 client credentials (RFC 6749, 4.4): fetched once for all processes, ahead of time.

How they are kept and shared is told in refreshed.py; here is what the provider is asked, and what its answers mean.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import math
import random
import re
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus, urlencode

import structlog
from django.conf import settings

from accounts.shared_value import (
    FETCH_SECONDS,
    LOCK_SECONDS,
    REFUSED_SECONDS,
    TOO_SLOW,
    Fetched,
    FetchError,
    Refreshed,
)
from accounts.shared_value import UnavailableError as ValueUnavailableError
from farmlokal.http.problems import Problem
from farmlokal.observability import metrics
from farmlokal.outbound.client import Answer, DeadlineExceededError, OutboundError, call

UNAVAILABLE = "No access token for the partner is to be had."  # why is in the log
DEFAULT_WAIT_SECONDS = LOCK_SECONDS + FETCH_SECONDS
DEFAULT_LIFETIME_SECONDS = 300  # where the provider does not say: RFC 6749 (4.2.2) only recommends that it does
MAX_LIFETIME_SECONDS = 24 * 3600
MAX_MARGIN_SECONDS = 30  # at the end, when a token is not used any more
MAX_AHEAD_SECONDS = 120  # before that, when the next one is fetched
MAX_TOKEN_LENGTH = 16 * 1024
PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
VISIBLE = re.compile(r"[!-~]+")
ERROR_CODE = re.compile(r"[a-z_]{1,40}")
LIFETIME = re.compile(r"\s*[+-]?\d{1,15}(\.\d{1,6})?\s*")

logger = structlog.get_logger(__name__)


def get_access_token(ends: float | None = None) -> str:
    """A token that is valid, not later than `ends` (time.monotonic; 5 s from now where it is not given).

    Raises the Problem partner-unavailable, with Retry-After; or partner-timeout, where the provider is too slow.
    """
    try:
        return _token(*_configuration()).get(time.monotonic() + DEFAULT_WAIT_SECONDS if ends is None else ends).value
    except ValueUnavailableError as error:
        headers = {"Retry-After": str(max(math.ceil(error.retry_after), 1))}
        code = "partner-timeout" if str(error) == TOO_SLOW else "partner-unavailable"
        raise Problem(code, UNAVAILABLE, headers=headers) from error


def reject(token: str) -> None:
    """The partner has answered 401 to it. Where it still is the one in use, the next call fetches another."""
    _token(*_configuration()).discard(token)


def _configuration() -> tuple[str, ...]:
    if not settings.OAUTH_TOKEN_URL:
        logger.error("no_token_provider")
        raise Problem("partner-unavailable", UNAVAILABLE)
    names = ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET", "SCOPE", "AUDIENCE")
    return tuple(getattr(settings, f"OAUTH_{name}") for name in names)


@lru_cache(maxsize=8)
def _token(*configuration: str) -> Refreshed:
    """One for each configuration, which no name shows."""
    name = hashlib.sha256("\0".join(configuration).encode()).hexdigest()[:16]
    return Refreshed(f"token:{name}", lambda ends: _fetched(configuration, ends))


class RefusedError(FetchError):
    """The provider does not know us, or not what we ask for: it is not asked again for a minute."""


def _fetched(configuration: tuple[str, ...], ends: float) -> Fetched:
    asked_at = time.time()
    try:
        fetched = _read(_answer(configuration, ends), asked_at)
    except FetchError as error:
        metrics.count_token_refresh("refused" if isinstance(error, RefusedError) else "failed")
        raise
    metrics.count_token_refresh("refreshed")
    return fetched


def _answer(configuration: tuple[str, ...], ends: float) -> Answer:
    url, client_id, secret, scope, audience = configuration
    # Both are form-encoded first (RFC 6749, 2.3.1).
    credentials = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
    form = {"grant_type": "client_credentials", "scope": scope, "audience": audience}
    headers = {
        "Authorization": f"Basic {credentials}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    body = urlencode({name: value for name, value in form.items() if value}).encode()
    try:
        return call("POST", url, ends=ends, headers=headers, body=body)
    except DeadlineExceededError as error:
        raise FetchError(TOO_SLOW) from error
    except OutboundError as error:
        raise FetchError(f"the provider does not answer ({error})") from error


def _read(answer: Answer, asked_at: float) -> Fetched:
    if answer.status != HTTPStatus.OK:
        raise _refusal(answer)
    found = _members(answer.body)
    token, kind = found.get("access_token"), found.get("token_type")
    if not (isinstance(token, str) and VISIBLE.fullmatch(token) and len(token) <= MAX_TOKEN_LENGTH):
        raise FetchError("the provider's answer has no access_token")
    if not (isinstance(kind, str) and kind.lower() == "bearer"):
        raise FetchError("the provider's token_type is not Bearer")
    lifetime = _lifetime(found.get("expires_in"))
    if lifetime <= 0:
        raise FetchError("the provider's token has expired already")
    expires = asked_at + lifetime - min(MAX_MARGIN_SECONDS, lifetime / 10)
    ahead = min(MAX_AHEAD_SECONDS, lifetime / 5) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
    return Fetched(token, expires, expires - ahead)


def _members(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lifetime(given: Any) -> float:
    """Seconds, which some providers write as text; what makes no sense is as if it was not there."""
    if isinstance(given, str) and LIFETIME.fullmatch(given):
        given = float(given)
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given:  # noqa: PLR0124  # NaN
        return DEFAULT_LIFETIME_SECONDS
    return float(max(min(given, MAX_LIFETIME_SECONDS), -1))  # first: a number may be too large for a float


def _refusal(answer: Answer) -> FetchError:
    code = _members(answer.body).get("error")
    said = f" {code}" if isinstance(code, str) and ERROR_CODE.fullmatch(code) else ""
    why = f"the provider answers {answer.status}{said}"
    is_refused = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_refused and answer.status not in PASSING:
        return RefusedError(why, REFUSED_SECONDS)
    return FetchError(why, retry_after(answer.headers.get("Retry-After", "")))


def retry_after(text: str) -> float:
    """Seconds, by a number of them or by a date (RFC 9110, 10.2.3); 0 where it says nothing."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return max((at.replace(tzinfo=at.tzinfo or dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)
