"""Cross-origin requests of browsers (the Fetch standard).

Every origin may read; those of CORS_ALLOWED_ORIGINS may write.
Credentials are never allowed, so no response depends on a cookie. Responses to reads carry the headers even if the
request has no Origin. So one copy in a shared cache serves all origins.
"""

from __future__ import annotations

from django.conf import settings

from farmlokal.edge.asgi_types import Headers

READS = {"GET", "HEAD"}
WRITES = {"POST", "PATCH", "DELETE"}
EXPOSED = (
    b"access-control-expose-headers",
    b"ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID, X-Cache",
)
VARY = b"vary", b"Origin"
READ_HEADERS: Headers = [(b"access-control-allow-origin", b"*"), EXPOSED]
PREFLIGHT_HEADERS: Headers = [
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Traceparent, Tracestate, X-Request-ID",
    ),
    (b"access-control-max-age", b"7200"),  # the most that Chrome accepts
]


def headers_for(method: str, origin: str) -> Headers:
    """origin: the request's Origin header, or an empty string."""
    if method in READS:
        return READ_HEADERS
    if method not in WRITES:
        return []
    return [_allow(origin), EXPOSED, VARY] if _is_allowed(origin) else [VARY]


def preflight_headers(requested_method: str, origin: str) -> Headers:
    """Without Access-Control-Allow-Origin the browser does not send the request."""
    if requested_method in READS:
        return [READ_HEADERS[0], (b"access-control-allow-methods", b"GET, HEAD"), *PREFLIGHT_HEADERS, VARY]
    if requested_method in WRITES and _is_allowed(origin):
        methods = b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE"
        return [_allow(origin), methods, *PREFLIGHT_HEADERS, VARY]
    return [VARY]


def _is_allowed(origin: str) -> bool:
    return origin in settings.CORS_ALLOWED_ORIGINS


def _allow(origin: str) -> tuple[bytes, bytes]:
    return b"access-control-allow-origin", origin.encode("latin1")
