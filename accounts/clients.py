"""ApiClients as this process remembers them: what staff change counts in every process within five seconds."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from django.db import Error
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from accounts.models import ApiClient
from farmlokal.errors import is_database_away

if TYPE_CHECKING:
    from collections.abc import MutableMapping

REMEMBERED_SECONDS = 5.0
MAX_REMEMBERED = 10_000

_remembered: MutableMapping[str, tuple[ApiClient | None, float]] = OrderedDict()  # and until when (time.monotonic)


def find(client_id: str) -> ApiClient | None:
    found, until = _remembered.get(client_id, (None, 0.0))
    if time.monotonic() < until:
        return found
    try:
        row = ApiClient.objects.filter(client_id=client_id).first()
    except Error as error:
        if found and is_database_away(error):
            return found
        raise
    # MySQL's comparison does not see a space at the end.
    found = row if row and row.client_id == client_id else None
    _remembered[client_id] = found, time.monotonic() + REMEMBERED_SECONDS
    while len(_remembered) > MAX_REMEMBERED:
        _remembered.pop(next(iter(_remembered)), None)
    return found


def remembered(client_id: str) -> ApiClient | None:
    """Without asking anybody."""
    found, until = _remembered.get(client_id, (None, 0.0))
    return found if time.monotonic() < until else None


@receiver([post_save, post_delete], sender=ApiClient)
def forget(**_: Any) -> None:
    _remembered.clear()
