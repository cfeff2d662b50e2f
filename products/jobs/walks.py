"""The products of a job: the next ones, found as the listing finds them, and locked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from farmlokal.jobs.actions import Taken
from products.listing.conditions import Condition
from products.listing.listings import Position, Sort
from products.listing.queries import find
from products.listing.sources import Sql
from products.models import Product


def take(conditions: Sequence[Condition], sort: Sort, after: Any, count: int, *, is_active: bool) -> Taken:
    """Ids of products in the order of created_at. after: None, or the cursor of what was taken before."""
    position = Position(dt.datetime.fromisoformat(after[0]), after[1]) if after else None
    found = find(conditions, sort, position, count, is_active=is_active)
    pks = [row["id"] for row in found.rows]
    if found.stopped_at:
        end = found.stopped_at
    elif found.rows:
        end = Position(found.rows[-1]["created_at"], pks[-1])
    else:
        return Taken([], after, is_last=True)
    is_last = len(pks) < count and found.stopped_at is None
    return Taken(pks, [end.value.isoformat(), end.pk], is_last)


def lock(pks: Sequence[int], conditions: Sequence[Sql]) -> list[Product]:
    """Those of these products that meet the conditions now, locked until the transaction ends, ordered by id."""
    if not pks:
        return []
    where = Sql.all_of([Sql(f"p.id IN ({', '.join(['%s'] * len(pks))})", tuple(pks)), *conditions])
    # Another index would lock other products, too.
    table = f"`{Product._meta.db_table}` p FORCE INDEX (PRIMARY)"
    text = f"SELECT p.* FROM {table} WHERE {where.text} ORDER BY p.id FOR UPDATE"
    return list(Product.objects.raw(text, where.params))
