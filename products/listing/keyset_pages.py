"""One page of a keyset walk, and the cursors of the pages beside it.

The order is (sort field, id), which is total: no row is skipped or repeated among equal values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from products.listing.cursors import Cursor
from products.listing.listings import Position, Rows, Sort


class KeysetPage(NamedTuple):
    rows: list[dict[str, Any]]
    next: Cursor | None
    previous: Cursor | None
    is_cut: bool  # the search was given up before the page was full; the next page in its direction continues it


def read_page(
    find: Callable[[Sort, Position | None, int], Rows],
    sort: Sort,
    cursor: Cursor | None,
    position: Position | None,
    limit: int,
) -> KeysetPage:
    """find: returns the first rows after a position in an order, up to a number, each with the sort field and "id".

    position: of the cursor; None for the first page.
    """
    is_backward = cursor is not None and cursor.backward
    found = find(sort.reversed() if is_backward else sort, position, limit + 1)
    ahead = _ahead(found, sort, limit, is_backward=is_backward)
    back = _turned(cursor, sort) if cursor else None
    rows = found.rows[:limit]
    is_cut = len(found.rows) <= limit and found.stopped_at is not None
    return KeysetPage(rows[::-1], back, ahead, is_cut) if is_backward else KeysetPage(rows, ahead, back, is_cut)


def _ahead(found: Rows, sort: Sort, limit: int, *, is_backward: bool) -> Cursor | None:
    """The next page in the direction of reading: one cursor for one position, whichever way it was reached."""
    if len(found.rows) > limit:
        last_shown, first_hidden = found.rows[limit - 1 : limit + 1]
        return _turned(_after(first_hidden, sort), sort) if is_backward else _after(last_shown, sort)
    if found.stopped_at:
        return Cursor(is_backward, str(found.stopped_at.value), found.stopped_at.pk)
    return None


def _after(row: dict[str, Any], sort: Sort) -> Cursor:
    return Cursor(False, str(row[sort.field]), row["id"])


def _turned(cursor: Cursor, sort: Sort) -> Cursor:
    """The same position, read in the other direction. It lies between two rows; neither of them needs to exist."""
    toward_it = 1 if sort.is_descending == cursor.backward else -1
    return Cursor(not cursor.backward, cursor.value, cursor.pk + toward_it)
