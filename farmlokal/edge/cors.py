"""Cross-origin requests of browsers (the Fetch standard): reads are open to every origin, writes to those of
CORS_ALLOWED_ORIGINS. Never with credentials, so no answer depends on a cookie.

Answers to reads carry their headers whether or not the request names an origin: one copy in a cache serves all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from django.conf import settings

from farmlokal.ratelimit.limiter import is_limited

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

OPENAPI = "/openapi.json"
READS = {"GET", "HEAD"}
WRITES = {"POST", "PATCH", "DELETE"}
EXPOSED = (
    b"access-control-expose-headers",
    b"ETag, Link, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID, X-Cache",
)
VARY = b"vary", b"Origin"
READ_HEADERS: Headers = [(b"access-control-allow-origin", b"*"), EXPOSED]
PREFLIGHT_HEADERS: Headers = [
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID",
    ),
    (b"access-control-max-age", b"7200"),  # the most that Chrome accepts
]


def is_open(path: str) -> bool:
    return is_limited(path) or path == OPENAPI


def headers_for(method: str, path: str, origin: str) -> Headers:
    """What an answer carries besides; origin: the request's Origin, or an empty string."""
    if not is_open(path):
        return []
    if method in READS:
        return READ_HEADERS
    if method not in WRITES:
        return []
    return [_allowed(origin), EXPOSED, VARY] if _is_allowed(origin) else [VARY]


def preflight_headers(requested_method: str, origin: str) -> Headers:
    """Of the 204 that answers a preflight. Without Access-Control-Allow-Origin the browser sends no request."""
    if requested_method in READS:
        return [READ_HEADERS[0], (b"access-control-allow-methods", b"GET, HEAD"), *PREFLIGHT_HEADERS, VARY]
    if requested_method in WRITES and _is_allowed(origin):
        methods = b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE"
        return [_allowed(origin), methods, *PREFLIGHT_HEADERS, VARY]
    return [VARY]


def _is_allowed(origin: str) -> bool:
    return origin in settings.CORS_ALLOWED_ORIGINS


def _allowed(origin: str) -> tuple[bytes, bytes]:
    return b"access-control-allow-origin", origin.encode("latin1")
