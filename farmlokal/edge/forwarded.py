"""What the proxies in front say about a request, put where the rest of the service looks for it: Host and scheme.

Only the last TRUSTED_PROXY_HOPS entries of a forwarding header come from our proxies; the client can write the others.
ratelimit.client_of reads X-Forwarded-For by the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import MutableMapping

SCHEMES = {"http", "https"}


def apply(scope: MutableMapping[str, Any]) -> None:
    """Sets scheme and Host of an HTTP scope by X-Forwarded-Proto and, with TRUST_FORWARDED_HOST, X-Forwarded-Host."""
    if not settings.TRUSTED_PROXY_HOPS:
        return
    scheme = entry(scope, b"x-forwarded-proto").lower()
    if scheme in SCHEMES:
        scope["scheme"] = scheme
    host = entry(scope, b"x-forwarded-host") if settings.TRUST_FORWARDED_HOST else ""
    if host:
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [*others, (b"host", host.encode("latin1"))]


def entry(scope: MutableMapping[str, Any], name: bytes) -> str:
    """The entry of our outermost proxy. With fewer entries than proxies, some of them pass the header on unchanged:
    the first entry then."""
    value = b",".join(value for header, value in scope["headers"] if header == name).decode("latin1")
    entries = [part.strip() for part in value.split(",")]
    return entries[-min(settings.TRUSTED_PROXY_HOPS, len(entries))]
