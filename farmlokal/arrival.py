"""When a request arrived, from which its deadline counts: before it waited for a thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from django.http import HttpRequest

ARRIVED = "farmlokal.arrived"


def note_arrival(scope: MutableMapping[str, Any]) -> None:
    scope[ARRIVED] = time.monotonic()


def arrived_at(request: HttpRequest) -> float:
    """By time.monotonic; under plain WSGI nobody has seen it arrive: now."""
    found: float | None = request.META.get("asgi.scope", {}).get(ARRIVED)
    return time.monotonic() if found is None else found
