"""Takes scheme and Host from the headers of the proxies in front of the service.

Only the last TRUSTED_PROXY_HOPS entries of a forwarding header come from our proxies; clients can write the others.
farmlokal.ratelimit.client_identity reads X-Forwarded-For by the same rule.
"""

from __future__ import annotations

from django.conf import settings

from farmlokal.edge.asgi_types import Scope

SCHEMES = {"http", "https"}


def apply(scope: Scope) -> None:
    """Sets the scheme by X-Forwarded-Proto and, with TRUST_FORWARDED_HOST, Host by X-Forwarded-Host."""
    if not settings.TRUSTED_PROXY_HOPS:
        return
    scheme = _entry(scope, b"x-forwarded-proto").lower()
    if scheme in SCHEMES:
        scope["scheme"] = scheme
    host = _entry(scope, b"x-forwarded-host") if settings.TRUST_FORWARDED_HOST else ""
    if host:
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [*others, (b"host", host.encode("latin1"))]


def _entry(scope: Scope, name: bytes) -> str:
    """The entry of our outermost proxy, or the first if some proxies pass the header on unchanged."""
    value = b",".join(value for header, value in scope["headers"] if header == name).decode("latin1")
    entries = [part.strip() for part in value.split(",")]
    return entries[-min(settings.TRUSTED_PROXY_HOPS, len(entries))]
