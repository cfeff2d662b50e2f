"""The network address that counts as one client."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

MAX_LENGTH = 100  # no address is longer, and the memory keeps 4,096 of them


def client_of_request(request: HttpRequest) -> str:
    return client_of(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))


def client_of(peer: str, forwarded_for: str) -> str:
    """The address that our outermost trusted proxy wrote into X-Forwarded-For, else the peer's. The client can write
    every entry further left. IPv6: the /64 network, which one household has."""
    hops = settings.TRUSTED_PROXY_HOPS
    entries = forwarded_for.split(",") if hops else []
    claimed = _address(entries[-hops].strip()[:MAX_LENGTH]) if 0 < hops <= len(entries) else None
    return claimed or _address(peer) or peer


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    """As 192.0.2.1 or 2001:db8::/64, without ports and brackets; None if it is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
    return str(address)
