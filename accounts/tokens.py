"""Our own access tokens, by OAuth 2.0 client credentials (RFC 6749, 4.4).

The request to the provider and its answers are here; shared_value.py stores tokens and shares them between processes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import time
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode

import structlog
from django.conf import settings

from accounts.shared_state import Value
from accounts.shared_value import FETCH_SECONDS, LOCK_SECONDS, TOO_SLOW, SharedValue, UnavailableError
from farmlokal.http.problems import Problem
from farmlokal.observability import metrics
from farmlokal.outbound.client import PASSING_ERRORS, Answer, DeadlineExceededError, OutboundError, call

UNAVAILABLE = "There is no access token for the partner now."  # the log has the reason
DEFAULT_WAIT_SECONDS = LOCK_SECONDS + FETCH_SECONDS
DEFAULT_LIFETIME_SECONDS = 300  # RFC 6749 (5.1) only recommends expires_in
MAX_LIFETIME_SECONDS = 24 * 3600
MAX_MARGIN_SECONDS = 30  # before its end we stop using a token
MAX_AHEAD_SECONDS = 120  # before that we fetch the next one
REFUSED_SECONDS = 60.0  # before we ask a provider again that refused us
MAX_TOKEN_LENGTH = 16 * 1024
VISIBLE = re.compile(r"[!-~]+")
ERROR_CODE = re.compile(r"[a-z_]{1,40}")
LIFETIME = re.compile(r"\s*[+-]?\d{1,15}(\.\d{1,6})?\s*")

logger = structlog.get_logger(__name__)


def get_access_token(ends: float | None = None) -> str:
    """A valid token, before `ends` (time.monotonic; by default in 5 s).

    Raises the Problem partner-unavailable with Retry-After, or partner-timeout if the provider is too slow.
    """
    try:
        return _token(*_configuration()).get(time.monotonic() + DEFAULT_WAIT_SECONDS if ends is None else ends).text
    except UnavailableError as error:
        code = "partner-timeout" if str(error) == TOO_SLOW else "partner-unavailable"
        raise Problem(code, UNAVAILABLE, retry_after=error.retry_after) from error


def reject(token: str) -> None:
    """The partner answered 401 to this token. If it is still in use, the next call fetches another one."""
    _token(*_configuration()).reject(token)


class TokenState(NamedTuple):
    """Without the token itself."""

    valid_until: float  # seconds since 1970, like fetched_at; 0 without a token
    fetched_at: float  # when the provider was last asked; 0: never
    failure: str  # "": the last request succeeded


def token_state() -> TokenState | None:
    """As the processes share it; without Redis, as this one knows it. None without a provider. Asks no provider."""
    if not settings.OAUTH_TOKEN_URL:
        return None
    state = _token(*_configuration()).look()
    return TokenState(state.value.expires if state.value else 0.0, state.number / 1_000_000, state.failure)


def try_provider(ends: float) -> float:
    """Ask the provider for a token before `ends` (time.monotonic), and discard it.

    Returns the seconds for which we would use it. Raises UnavailableError with the provider's reason.
    """
    return _fetched(_configuration(), ends).expires - time.time()


def reset() -> None:
    """Forget all tokens, like a new process."""
    _token.cache_clear()


def _configuration() -> tuple[str, ...]:
    if not settings.OAUTH_TOKEN_URL:
        logger.error("no_token_provider")
        raise Problem("partner-unavailable", UNAVAILABLE)
    names = ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET", "SCOPE", "AUDIENCE")
    return tuple(getattr(settings, f"OAUTH_{name}") for name in names)


@lru_cache(maxsize=8)
def _token(*configuration: str) -> SharedValue:
    """One for each configuration. Its name in Redis is a hash, because the configuration has a secret."""
    name = hashlib.sha256("\0".join(configuration).encode()).hexdigest()[:16]
    return SharedValue(f"token:{name}", lambda ends: _fetched(configuration, ends))


class CredentialsRefusedError(UnavailableError):
    """The provider does not accept our credentials or our request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, REFUSED_SECONDS)


def _fetched(configuration: tuple[str, ...], ends: float) -> Value:
    began = time.time()
    try:
        token = _read(_answer(configuration, ends), began)
    except UnavailableError as error:
        metrics.count_token_refresh("refused" if isinstance(error, CredentialsRefusedError) else "failed")
        raise
    metrics.count_token_refresh("refreshed")
    return token


def _answer(configuration: tuple[str, ...], ends: float) -> Answer:
    url, client_id, secret, scope, audience = configuration
    # RFC 6749 (2.3.1): form-encode both, then join them.
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
        raise UnavailableError(TOO_SLOW) from error
    except OutboundError as error:
        raise UnavailableError(f"the provider does not answer ({error})") from error


def _read(answer: Answer, began: float) -> Value:
    if answer.status != HTTPStatus.OK:
        raise _error(answer)
    document = _document(answer.body)
    token, token_type = document.get("access_token"), document.get("token_type")
    if not (isinstance(token, str) and VISIBLE.fullmatch(token) and len(token) <= MAX_TOKEN_LENGTH):
        raise UnavailableError("the provider's answer has no access_token")
    if not (isinstance(token_type, str) and token_type.lower() == "bearer"):
        raise UnavailableError("the provider's token_type is not Bearer")
    lifetime = _lifetime(document.get("expires_in"))
    if lifetime <= 0:
        raise UnavailableError("the provider's token has expired already")
    expires = began + lifetime - min(MAX_MARGIN_SECONDS, lifetime / 10)
    ahead = min(MAX_AHEAD_SECONDS, lifetime / 5) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
    return Value(token, expires, expires - ahead)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _lifetime(expires_in: Any) -> float:
    """Seconds. Some providers write them as text. Nonsense counts as absent."""
    if isinstance(expires_in, str) and LIFETIME.fullmatch(expires_in):
        expires_in = float(expires_in)
    is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    if not is_number or expires_in != expires_in:  # noqa: PLR0124  # NaN
        return DEFAULT_LIFETIME_SECONDS
    return float(max(min(expires_in, MAX_LIFETIME_SECONDS), -1))  # min before float(), which a huge int overflows


def _error(answer: Answer) -> UnavailableError:
    code = _document(answer.body).get("error")
    suffix = f" {code}" if isinstance(code, str) and ERROR_CODE.fullmatch(code) else ""
    reason = f"the provider answers {answer.status}{suffix}"
    is_refused = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_refused and answer.status not in PASSING_ERRORS:
        return CredentialsRefusedError(reason)
    return UnavailableError(reason, answer.retry_after)
