"""Authenticates API clients by bearer JWT (RFC 6750, RFC 9068), checked offline with the provider's keys.

A token that this process has checked costs a memory look-up until it expires or the key set changes. An invalid token
is rejected even on public reads.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jwt
import structlog
from cachetools import LRUCache
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import clients, keys
from accounts.models import ApiClient
from accounts.shared_value import UnavailableError
from farmlokal import routes
from farmlokal.acting import SYSTEM, acting_as
from farmlokal.http.problems import Problem
from farmlokal.request_state import state_of

CHALLENGE = 'Bearer realm="farmlokal"'
SCHEME = "bearer"
MAX_TOKEN_LENGTH = 8192
JWT_PARTS = 3
MAX_CHECKED_TOKENS = 10_000
MAX_CLIENT_ID_LENGTH = 255
LEEWAY_SECONDS = 30
WAIT_SECONDS = 3.0  # for the provider's keys
TOKEN_TYPES = {None, "jwt", "at+jwt", "application/at+jwt"}
# PyJWT also raises the built-in ones, for claims of the wrong type such as an infinite exp.
MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)

logger = structlog.get_logger(__name__)


class Caller(NamedTuple):
    """request.auth"""

    client: ApiClient
    scopes: frozenset[str]


class Claims(NamedTuple):
    client_id: str
    scopes: frozenset[str]
    expires_at: float  # wall clock
    key_set: int  # its number


_checked_tokens: LRUCache[bytes, Claims] = LRUCache(MAX_CHECKED_TOKENS)  # by hash
_lock = threading.Lock()


def reset() -> None:
    with _lock:
        _checked_tokens.clear()


def _checked_claims(token: str) -> Claims | None:
    with _lock:
        claims = _checked_tokens.get(_hash(token))
    if claims and time.time() < claims.expires_at and claims.key_set == keys.current():
        return claims
    return None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def token_in(authorization: str) -> str | None:
    """The token of an Authorization header; None if its scheme is not Bearer."""
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") if scheme.lower() == SCHEME else None


def looks_like_jwt(token: str) -> bool:
    return token.isascii() and token.count(".") == JWT_PARTS - 1 and len(token) <= MAX_TOKEN_LENGTH


def is_checked(authorization: str) -> bool:
    """Whether this process has accepted the token before. Its client may still be unknown or inactive."""
    token = token_in(authorization)
    return bool(token and _checked_claims(token))


def cached_caller(authorization: str) -> Caller | None:
    """The caller, if this process can tell without I/O."""
    token = token_in(authorization)
    claims = _checked_claims(token) if token else None
    client = clients.find_cached(claims.client_id) if claims else None
    return Caller(client, claims.scopes) if claims and client and client.is_active else None


def caller_of(authorization: str) -> Caller | None:
    """None without a bearer token. Raises a Problem: not-authenticated, permission-denied, or auth-unavailable."""
    token = token_in(authorization)
    if token is None:
        return None
    claims = _checked_claims(token) or _check(token)
    client = clients.find(claims.client_id)
    if client is None:
        raise invalid_token("Its client is not registered.")
    if not client.is_active:
        raise _challenge("permission-denied", "This client is deactivated.", "insufficient_scope")
    return Caller(client, claims.scopes)


def invalid_token(reason: str) -> Problem:
    return _challenge("not-authenticated", f"The bearer token is not accepted. {reason}", "invalid_token")


def _challenge(code: str, detail: str, error: str) -> Problem:
    challenge = f'{CHALLENGE}, error="{error}", error_description="{detail}"'
    return Problem(code, detail, headers={"WWW-Authenticate": challenge})


def _check(token: str) -> Claims:
    if not settings.OAUTH_ISSUER:
        raise invalid_token("No token provider is configured.")
    if not looks_like_jwt(token):
        raise invalid_token("It is not a JWT.")
    try:
        algorithm, key_id = _header_of(token)
        key, key_set = keys.key_for(algorithm, key_id, time.monotonic() + WAIT_SECONDS)
        claims = _read(_decode(token, key, algorithm), key_set)
    except jwt.ExpiredSignatureError as error:
        raise invalid_token("It has expired.") from error
    except keys.UnknownKeyError as error:
        raise invalid_token("The token provider has no such key.") from error
    except UnavailableError as error:
        detail = "Cannot fetch the token provider's keys."
        raise Problem("auth-unavailable", detail, retry_after=error.retry_after) from error
    except MALFORMED as error:
        raise invalid_token("It is malformed, or for another service.") from error
    with _lock:
        _checked_tokens[_hash(token)] = claims
    return claims


def _header_of(token: str) -> tuple[str, str | None]:
    """Algorithm and key id. All other headers are ignored: a token cannot bring or name its own key."""
    header = jwt.get_unverified_header(token)
    algorithm, key_id, token_type = header.get("alg"), header.get("kid"), header.get("typ")
    if algorithm not in keys.ALGORITHMS or "crit" in header:
        raise jwt.InvalidAlgorithmError
    if not (key_id is None or isinstance(key_id, str)):
        raise jwt.InvalidKeyError
    if (token_type.lower() if isinstance(token_type, str) else token_type) not in TOKEN_TYPES:
        raise jwt.InvalidTokenError
    return algorithm, key_id


def _decode(token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=settings.OAUTH_ISSUER,
            audience=settings.OAUTH_API_AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ImmatureSignatureError as error:  # its signature is valid
        claims = jwt.decode(token, options={"verify_signature": False})
        raise _from_the_future(max(int(claims.get(name) or 0) for name in ("iat", "nbf"))) from error


def _from_the_future(valid_at: int) -> Problem:
    seconds = round(valid_at - time.time())
    logger.warning("token_from_the_future", seconds=seconds)
    return invalid_token(f"It becomes valid in {seconds} s: the clocks of its provider and this service may differ.")


def _read(claims: dict[str, Any], key_set: int) -> Claims:
    client_id = next((claims[name] for name in ("client_id", "azp", "sub") if name in claims), None)
    if not (
        isinstance(client_id, str)
        and 0 < len(client_id) <= MAX_CLIENT_ID_LENGTH
        and client_id.isascii()
        and client_id.isprintable()
    ):
        raise ValueError("no client id")
    scopes = claims.get("scope", claims.get("scp", ""))
    if isinstance(scopes, str):
        scopes = scopes.split()
    if not (isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)):
        raise ValueError("scopes are not a list of strings")
    return Claims(client_id, frozenset(scopes), float(claims["exp"]) + LEEWAY_SECONDS, key_set)


class CallerMiddleware:
    """Authenticates before the call is counted: for its client, or for its address if authentication fails.
    BearerAuthentication raises the failure in views that use it. All writes of the request are the caller's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if routes.find(request.path).is_rate_limited and "Authorization" in request.headers:
            state = state_of(request)
            try:
                state.caller = caller_of(request.headers["Authorization"])
            except Problem as problem:
                state.caller = problem
            if isinstance(state.caller, Caller):
                client = state.caller.client
                state.limited_as = client.policy, client.name_in_limits
        with acting_as(partial(_actor_of, request)):
            return self.get_response(request)


def _actor_of(request: HttpRequest) -> str:
    """A token counts before a session, as it does for views."""
    caller = state_of(request).caller
    if isinstance(caller, Caller):
        return f"client {caller.client.name}"
    user = getattr(request, "user", None)  # public reads have none
    return user.get_username() if user and user.is_authenticated else SYSTEM


class BearerAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[ApiClient, Caller] | None:
        caller = state_of(request._request).caller
        if isinstance(caller, Problem):
            raise caller
        return (caller.client, caller) if caller else None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
