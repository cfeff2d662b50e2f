"""The log of webhooks, page by page. log_filters.py chooses the index range from which each page is read.

BUDGET_ROWS of it are checked for one page at most.
"""

from __future__ import annotations

import datetime as dt
from functools import partial

from django.db import connection

from farmlokal.counts import Total
from integrations.models import WebhookEvent
from integrations.webhooks.log_filters import BY_ID, NEWEST_FIRST, Filters, Source, source_of, stored
from products.listing.cursors import Cursor, CursorError, unseal
from products.listing.keyset_pages import KeysetPage, read_page
from products.listing.listings import Position, Rows, Sort
from products.listing.queries import rows_after, run, utc
from products.listing.sources import Sql

BUDGET_ROWS = 5000
COUNTED_ROWS = 500

TABLE = f"`{WebhookEvent._meta.db_table}`"
CHECKED = ("received_at", "status", "type", "product_id", "webhook_id")


def read(filters: Filters, cursor_text: str, limit: int) -> KeysetPage:
    """Rows are {"id", and the field of the order}. Raises CursorError."""
    cursor = unseal(cursor_text, filters.bound_to()) if cursor_text else None
    position = _position(cursor, filters.sort) if cursor else None
    return read_page(partial(find, filters), filters.sort, cursor, position, limit)


def find(filters: Filters, sort: Sort, after: Position | None, count: int) -> Rows:
    """The first matching events after a position, and where the search was given up within its budget, if it was."""
    source = source_of(filters)
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
    if not unread:
        return found
    return found._replace(stopped_at=sort.just_before(unread[0][sort.field], unread[0]["id"]))


def count(filters: Filters) -> Total | None:
    """Exact up to COUNTED_ROWS, else as MySQL estimates the index range. None if only checks on rows could tell."""
    source = source_of(filters)
    if source.checks:
        return None
    entries = _entries(source, filters.sort, None)
    counted = len(run(entries._replace(text=f"{entries.text} LIMIT {COUNTED_ROWS + 1}")))
    if counted <= COUNTED_ROWS:
        return Total(counted, is_exact=True)
    return Total(max(_estimate(entries), counted), is_exact=False)


def _entries(source: Source, sort: Sort, after: Position | None) -> Sql:
    where = [source.where]
    if after is not None:
        where.append(rows_after(f"e.{sort.field}", "e.id", sort, stored(after.value), after.pk))
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
    return Rows([{"id": row[0], sort.field: utc(row[1])} for row in run(statement)])


def _estimate(entries: Sql) -> int:
    with connection.cursor() as cursor:
        # MySQL 9 has another default format. With FORCE, MySQL would guess instead of looking into the index.
        text = entries.text.replace("FORCE INDEX", "USE INDEX", 1)
        cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {text}", entries.params)
        names = [column[0] for column in cursor.description]
        return int(dict(zip(names, cursor.fetchone(), strict=True))["rows"])


def _position(cursor: Cursor, sort: Sort) -> Position:
    try:
        value = dt.datetime.fromisoformat(cursor.value) if sort == NEWEST_FIRST else cursor.value
    except ValueError as error:
        raise CursorError from error
    return Position(value, cursor.pk)
