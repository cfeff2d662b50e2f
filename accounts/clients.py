"""ApiClients as this process remembers them: what staff change counts in every process within five seconds."""

from __future__ import annotations

import time
from typing import Any

from django.db import Error
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from accounts.models import ApiClient
from farmlokal.mysql.errors import is_unavailable
from farmlokal.recent import Recent

REMEMBERED_SECONDS = 5.0
MAX_REMEMBERED = 10_000

_remembered: Recent[str, tuple[ApiClient | None, float]] = Recent(MAX_REMEMBERED)  # and until when (time.monotonic)


def find(client_id: str) -> ApiClient | None:
    found, until = _remembered.get(client_id) or (None, 0.0)
    if time.monotonic() < until:
        return found
    try:
        row = ApiClient.objects.filter(client_id=client_id).first()
        # MySQL's comparison does not see a space at the end.
        found = row if row and row.client_id == client_id else None
    except Error as error:
        if not (found and is_unavailable(error)):
            raise
    _remembered.put(client_id, (found, time.monotonic() + REMEMBERED_SECONDS))
    return found


def remembered(client_id: str) -> ApiClient | None:
    """Without asking anybody."""
    found, until = _remembered.get(client_id) or (None, 0.0)
    return found if time.monotonic() < until else None


@receiver([post_save, post_delete], sender=ApiClient)
def forget(**_: Any) -> None:
    _remembered.clear()
