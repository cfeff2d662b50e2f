"""The filters of the log of webhooks, and the index range that each combination of them reads.

Pages are in the order of arrival, or of the ids if the beginning of an id is given. One filter leads to its index; the
others are checked on what that index finds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from integrations.models import PARTNER, WebhookEvent
from products.listing.listings import Sort
from products.listing.sources import Sql

NEWEST_FIRST = Sort("received_at", is_descending=True)
BY_ID = Sort("webhook_id", is_descending=False)


class Filters(NamedTuple):
    """None or "": any. Days are those of TIME_ZONE, both included."""

    id_prefix: str = ""
    status: str = ""
    type: str = ""
    product: int | None = None
    first_day: dt.date | None = None
    last_day: dt.date | None = None

    @property
    def sort(self) -> Sort:
        return BY_ID if self.id_prefix else NEWEST_FIRST

    def bound_to(self) -> list[str]:
        """A cursor fits these filters only."""
        return [WebhookEvent._meta.label_lower, *("" if value is None else str(value) for value in self)]


class Source(NamedTuple):
    """An index range in the order of the page, and what remains to be checked on its rows."""

    index_name: str
    where: Sql
    checks: Sql | None


def source_of(filters: Filters) -> Source:
    """The most selective index in the order of the page; among types and statuses, all but "processed" are rare."""
    parts = _parts(filters)
    if filters.id_prefix:
        return _split("webhook_id", ("id_prefix",), parts)
    days = ("first_day", "last_day")
    is_common = filters.status == WebhookEvent.Status.PROCESSED
    rarest = ("product", "type", "status") if is_common else ("product", "status", "type")
    if name := next((name for name in rarest if name in parts), ""):
        return _split(f"webhook_log_{name}", (name, *days), parts)
    return _split("webhook_log", days, parts)


def _split(index: str, answered: Sequence[str], parts: dict[str, Sql]) -> Source:
    where = [part for name, part in parts.items() if name in answered]
    checks = [part for name, part in parts.items() if name not in answered]
    return Source(index, Sql.all_of(where or [Sql("TRUE")]), Sql.all_of(checks) if checks else None)


def _parts(filters: Filters) -> dict[str, Sql]:
    """The conditions by filter."""
    parts: dict[str, Sql] = {}
    if filters.id_prefix:
        pattern = f"{connection.ops.prep_for_like_query(filters.id_prefix)}%"
        parts["id_prefix"] = Sql("e.source = %s AND e.webhook_id LIKE %s", (PARTNER, pattern))
    if filters.product is not None:
        parts["product"] = Sql("e.product_id = %s", (filters.product,))
    if filters.status:
        parts["status"] = Sql("e.status = %s", (filters.status,))
    if filters.type:
        parts["type"] = Sql("e.type = %s", (filters.type,))
    if filters.first_day:
        parts["first_day"] = Sql("e.received_at >= %s", (_midnight(filters.first_day),))
    if filters.last_day:
        parts["last_day"] = Sql("e.received_at < %s", (_midnight(filters.last_day + dt.timedelta(days=1)),))
    return parts


def _midnight(day: dt.date) -> Any:
    return stored(timezone.make_aware(dt.datetime.combine(day, dt.time())))


def stored(value: Any) -> Any:
    """As MySQL stores it: times without a zone, in UTC."""
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, dt.datetime) else value
