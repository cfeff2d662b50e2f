"""How far the log of webhooks is behind: failed events, and the time from receipt to the last attempt."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from statistics import median
from typing import NamedTuple

from django.db.models import QuerySet

from integrations.models import WebhookEvent

MAX_COUNTED = 1000  # of each status, so that a long log stays cheap
RECENT = 100  # events whose delay is looked at

Status = WebhookEvent.Status


class Backlog(NamedTuple):
    failed: int  # MAX_COUNTED: this many or more
    dead: int
    oldest: dt.datetime | None  # receipt of the oldest failed or dead event
    median_delay: float  # seconds from receipt to the last attempt, of recent events
    longest_delay: float


def backlog() -> Backlog:
    """Two statements, which read at most 2,100 rows."""
    rows = _unfinished()
    statuses = Counter(status for status, _ in rows)
    recent = WebhookEvent.objects.order_by("-id").values_list("received_at", "attempted_at")[:RECENT]
    delays = [(attempted - received).total_seconds() for received, attempted in recent] or [0.0]
    return Backlog(
        failed=statuses[Status.FAILED],
        dead=statuses[Status.DEAD],
        oldest=min((received for _, received in rows), default=None),
        median_delay=median(delays),
        longest_delay=max(delays),
    )


def numbers() -> dict[str, int]:
    """Of failed and dead events, each MAX_COUNTED at most. One statement."""
    counted = Counter(status for status, _ in _unfinished())
    return {status: counted[status] for status in (Status.FAILED, Status.DEAD)}


def _unfinished() -> list[tuple[str, dt.datetime]]:
    """(status, receipt) of failed and dead events."""
    return list(_first(Status.FAILED).union(_first(Status.DEAD), all=True))


def _first(status: str) -> QuerySet[WebhookEvent, tuple[str, dt.datetime]]:
    """In the order of an index, so that no others are read and sorted."""
    events = WebhookEvent.objects.filter(status=status).order_by("received_at", "id")
    return events.values_list("status", "received_at")[:MAX_COUNTED]
