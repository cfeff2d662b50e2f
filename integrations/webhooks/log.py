"""The log of webhooks, page by page: filters, and the index range from which each page is read.

Pages are in the order of arrival, or of the ids if the beginning of an id is given. One filter leads to its index; the
others are checked on what that index finds, BUDGET_ROWS for one page at most.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from farmlokal.counts import Total
from integrations.models import PARTNER, WebhookEvent
from products.listing.cursors import Cursor, CursorError, unseal
from products.listing.keyset_pages import KeysetPage, read_page
from products.listing.listings import Position, Rows, Sort
from products.listing.sources import Sql

NEWEST_FIRST = Sort("received_at", is_descending=True)
BY_ID = Sort("webhook_id", is_descending=False)
BUDGET_ROWS = 5000
COUNTED_ROWS = 500

TABLE = f"`{WebhookEvent._meta.db_table}`"
CHECKED = ("received_at", "status", "type", "product_id", "webhook_id")


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


def read(filters: Filters, cursor_text: str, limit: int) -> KeysetPage:
    """Rows are {"id", and the field of the order}. Raises CursorError."""
    cursor = unseal(cursor_text, filters.bound_to()) if cursor_text else None
    position = _position(cursor, filters.sort) if cursor else None
    return read_page(partial(find, filters), filters.sort, cursor, position, limit)


def find(filters: Filters, sort: Sort, after: Position | None, count: int) -> Rows:
    """The first matching events after a position, and where the search was given up within its budget, if it was."""
    source = _source(filters)
    entries = _entries(source, sort, after)
    if source.checks is None:
        return _rows(_limited(entries, sort, count), sort)
    within = Sql(f"({_limited(entries, sort, BUDGET_ROWS).text})", entries.params)
    checked = Sql(
        f"SELECT e.id, e.{sort.field} FROM {within.text} e WHERE {source.checks.text}",
        (*within.params, *source.checks.params),
    )
    found = _rows(_limited(checked, sort, count), sort)
    if len(found.rows) == count:
        return found
    unread = _rows(_limited(entries, sort, 1, skipped=BUDGET_ROWS), sort).rows
    return found._replace(stopped_at=_before(unread[0], sort)) if unread else found


def count(filters: Filters) -> Total | None:
    """Exact up to COUNTED_ROWS, else as MySQL estimates the index range. None if only checks on rows could tell."""
    source = _source(filters)
    if source.checks:
        return None
    entries = _entries(source, filters.sort, None)
    counted = len(_run(entries._replace(text=f"{entries.text} LIMIT {COUNTED_ROWS + 1}")))
    if counted <= COUNTED_ROWS:
        return Total(counted, is_exact=True)
    return Total(max(_estimate(entries), counted), is_exact=False)


def _source(filters: Filters) -> Source:
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


def _entries(source: Source, sort: Sort, after: Position | None) -> Sql:
    where = [source.where]
    if after is not None:
        operator = "<" if sort.is_descending else ">"
        value = _stored(after.value)
        text = f"(e.{sort.field} {operator} %s OR (e.{sort.field} = %s AND e.id {operator} %s))"
        where.append(Sql(text, (value, value, after.pk)))
    # Without checks, an index is enough.
    others = [name for name in CHECKED if name != sort.field] if source.checks else []
    columns = ", ".join(f"e.{name}" for name in ("id", sort.field, *others))
    found = Sql.all_of(where)
    return Sql(f"SELECT {columns} FROM {TABLE} e FORCE INDEX (`{source.index_name}`) WHERE {found.text}", found.params)


def _limited(statement: Sql, sort: Sort, count: int, skipped: int = 0) -> Sql:
    direction = "DESC" if sort.is_descending else "ASC"
    # Ids of webhooks are unique. Their index would not serve an order by a second column.
    tie = "" if sort.field == BY_ID.field else f", e.id {direction}"
    order = f"ORDER BY e.{sort.field} {direction}{tie} LIMIT {count} OFFSET {skipped}"
    return statement._replace(text=f"{statement.text} {order}")


def _rows(statement: Sql, sort: Sort) -> Rows:
    return Rows([{"id": row[0], sort.field: _aware(row[1])} for row in _run(statement)])


def _before(unread: dict[str, Any], sort: Sort) -> Position:
    """The position just before this row: the next page begins with it."""
    return Position(unread[sort.field], unread["id"] + (1 if sort.is_descending else -1))


def _run(statement: Sql) -> Sequence[Sequence[Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.params)
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
    return rows


def _estimate(entries: Sql) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {entries.text}", entries.params)
        names = [column[0] for column in cursor.description]
        return int(dict(zip(names, cursor.fetchone(), strict=True))["rows"])


def _position(cursor: Cursor, sort: Sort) -> Position:
    try:
        value = dt.datetime.fromisoformat(cursor.value) if sort == NEWEST_FIRST else cursor.value
    except ValueError as error:
        raise CursorError from error
    return Position(value, cursor.pk)


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
    return _stored(timezone.make_aware(dt.datetime.combine(day, dt.time())))


def _stored(value: Any) -> Any:
    """As MySQL stores it: times without a zone, in UTC."""
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, dt.datetime) else value


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value
