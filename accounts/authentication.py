"""Who calls: bearer JWTs (RFC 6750, RFC 9068) of the configured provider, checked offline, and the ApiClient they name.

A token that was seen before costs a look into memory, as long as neither it nor the set of keys it was checked with is
over. What cannot be checked is 401, on open reads too: whoever brings a token means it.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import jwt
from django.conf import settings
from rest_framework.authentication import BaseAuthentication

from accounts import clients, keys
from accounts.shared_value import UnavailableError
from farmlokal.http.problems import Problem
from farmlokal.ratelimit.limiter import is_limited
from farmlokal.recent import Recent
from farmlokal.request_state import state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase
    from rest_framework.request import Request

    from accounts.models import ApiClient

CHALLENGE = 'Bearer realm="farmlokal"'
SCHEME = "bearer"
MAX_TOKEN_LENGTH = 8192
PARTS = 3
MAX_SEEN = 10_000
MAX_CLIENT_ID_LENGTH = 255
LEEWAY_SECONDS = 30
WAIT_SECONDS = 3.0  # for the provider's keys
TYPES = {None, "jwt", "at+jwt", "application/at+jwt"}
# What PyJWT lets through from claims that are not what they ought to be, such as an infinite exp.
BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Caller(NamedTuple):
    """request.auth"""

    client: ApiClient
    scopes: frozenset[str]


class Claims(NamedTuple):
    client_id: str
    scopes: frozenset[str]
    until: float  # wall clock, seconds
    keys: int  # the number of the set of keys


# Tokens that were checked, by their hashes.
_seen: Recent[bytes, Claims] = Recent(MAX_SEEN)


def _seen_before(token: str) -> Claims | None:
    claims = _seen.get(_hash(token))
    if claims and time.time() < claims.until and claims.keys == keys.current():
        return claims
    return None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def token_in(authorization: str) -> str | None:
    """Of an Authorization header; None where its scheme is another one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") if scheme.lower() == SCHEME else None


def looks_like_a_jwt(token: str) -> bool:
    return token.isascii() and token.count(".") == PARTS - 1 and len(token) <= MAX_TOKEN_LENGTH


def is_checked(authorization: str) -> bool:
    """Whether this process has found the token good before; its client may be another matter. For the edge."""
    token = token_in(authorization)
    return bool(token and _seen_before(token))


def known_caller(authorization: str) -> Caller | None:
    """The caller, where this process can tell without asking anybody. For the edge."""
    token = token_in(authorization)
    claims = _seen_before(token) if token else None
    client = clients.remembered(claims.client_id) if claims else None
    return Caller(client, claims.scopes) if claims and client and client.is_active else None


def caller_of(authorization: str) -> Caller | None:
    """None where nobody is named. Raises a Problem: not-authenticated, permission-denied, or auth-unavailable."""
    token = token_in(authorization)
    if token is None:
        return None
    claims = _seen_before(token) or _checked(token)
    client = clients.find(claims.client_id)
    if client is None:
        raise invalid_token("Its client is not known here.")
    if not client.is_active:
        raise _challenged("permission-denied", "This client is switched off.", "insufficient_scope")
    return Caller(client, claims.scopes)


def invalid_token(detail: str) -> Problem:
    return _challenged("not-authenticated", f"The bearer token is not accepted: {detail}", "invalid_token")


def _challenged(code: str, detail: str, error: str) -> Problem:
    challenge = f'{CHALLENGE}, error="{error}", error_description="{detail}"'
    return Problem(code, detail, headers={"WWW-Authenticate": challenge})


def _checked(token: str) -> Claims:
    if not settings.OAUTH_ISSUER:
        raise invalid_token("no provider is configured here.")
    if not looks_like_a_jwt(token):
        raise invalid_token("it is no JWT.")
    try:
        algorithm, key_id = _header_of(token)
        key, number = keys.key_for(algorithm, key_id, time.monotonic() + WAIT_SECONDS)
        claims = _decoded(token, key, algorithm)
        found = _read(claims, number)
    except jwt.ExpiredSignatureError as error:
        raise invalid_token("it has expired.") from error
    except keys.UnknownKeyError as error:
        raise invalid_token("its provider has no such key.") from error
    except UnavailableError as error:
        headers = {"Retry-After": str(max(round(error.retry_after), 1))}
        raise Problem(
            "auth-unavailable", "The keys of the tokens' provider are not to be had.", headers=headers
        ) from error
    except BROKEN as error:
        raise invalid_token("it is malformed, or not for this service.") from error
    _seen.put(_hash(token), found)
    return found


def _header_of(token: str) -> tuple[str, str | None]:
    """Algorithm and key id. No other header is believed: a token that brings or names its own key is as any other."""
    header = jwt.get_unverified_header(token)
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if algorithm not in keys.ALGORITHMS or "crit" in header:
        raise jwt.InvalidAlgorithmError
    if not (key_id is None or isinstance(key_id, str)):
        raise jwt.InvalidKeyError
    if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
        raise jwt.InvalidTokenError
    return algorithm, key_id


def _decoded(token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=settings.OAUTH_ISSUER,
        audience=settings.OAUTH_API_AUDIENCE,
        leeway=LEEWAY_SECONDS,
        options={"require": ["exp", "iss", "aud"]},
    )


def _read(claims: dict[str, Any], number: int) -> Claims:
    client_id = next((claims[name] for name in ("client_id", "azp", "sub") if name in claims), None)
    if not (
        isinstance(client_id, str)
        and 0 < len(client_id) <= MAX_CLIENT_ID_LENGTH
        and client_id.isascii()
        and client_id.isprintable()
    ):
        raise ValueError("no client")
    scopes = claims.get("scope", claims.get("scp", ""))
    if isinstance(scopes, str):
        scopes = scopes.split()
    if not (isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)):
        raise ValueError("no list of scopes")
    return Claims(client_id, frozenset(scopes), float(claims["exp"]) + LEEWAY_SECONDS, number)


class CallerMiddleware:
    """Finds out who calls before the call is counted: as that client's, or, where nobody can be told, as its address's.
    What was wrong is answered by the views that have BearerAuthentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_limited(request.path) and "Authorization" in request.headers:
            state = state_of(request)
            try:
                state.caller = caller_of(request.headers["Authorization"])
            except Problem as problem:
                state.caller = problem
            if isinstance(state.caller, Caller):
                client = state.caller.client
                state.limited_as = client.policy, client.name_in_limits
        return self.get_response(request)


class BearerAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[ApiClient, Caller] | None:
        caller = state_of(request._request).caller
        if isinstance(caller, Problem):
            raise caller
        return (caller.client, caller) if caller else None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
