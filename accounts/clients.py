"""ApiClients in this process's memory. A change by staff reaches every process within five seconds."""

from __future__ import annotations

import threading
from time import monotonic
from typing import NamedTuple

from cachetools import LRUCache
from django.db import Error

from accounts.models import ApiClient
from farmlokal.mysql.errors import is_unavailable

CACHE_SECONDS = 5.0
MAX_CACHED = 10_000


class _Entry(NamedTuple):
    client: ApiClient | None
    expires_at: float  # monotonic clock


_EXPIRED = _Entry(None, 0.0)
_entries: LRUCache[str, _Entry] = LRUCache(MAX_CACHED)
_lock = threading.Lock()


def find(client_id: str) -> ApiClient | None:
    """From memory, else from MySQL. While MySQL is away, an expired entry serves."""
    entry = _cached(client_id)
    if monotonic() < entry.expires_at:
        return entry.client
    client = entry.client
    try:
        row = ApiClient.objects.filter(client_id=client_id).first()
        # MySQL ignores a space at the end when it compares.
        client = row if row and row.client_id == client_id else None
    except Error as error:
        if not (client and is_unavailable(error)):
            raise
    with _lock:
        _entries[client_id] = _Entry(client, monotonic() + CACHE_SECONDS)
    return client


def find_cached(client_id: str) -> ApiClient | None:
    entry = _cached(client_id)
    return entry.client if monotonic() < entry.expires_at else None


def _cached(client_id: str) -> _Entry:
    with _lock:
        return _entries.get(client_id, _EXPIRED)


def reset() -> None:
    with _lock:
        _entries.clear()
