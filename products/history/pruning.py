"""Deletes old changes, from the oldest on. Keys grow with time, so no index by date is needed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from products.history.tables import MODELS

KEPT_DAYS = 365
BATCH_ROWS = 1000


def prune(before: dt.datetime) -> Iterator[int]:
    """Delete all changes made before this moment, in short transactions. Yields the number of each."""
    for model in MODELS:
        while number := _delete_oldest(model.history.model, before):
            yield number


def _delete_oldest(table: Any, before: dt.datetime) -> int:
    oldest = table.objects.order_by("history_id").values_list("history_id", "history_date")[:BATCH_ROWS]
    keys = [key for key, at in oldest if at < before]
    table.objects.filter(pk__in=keys).delete()
    return len(keys)
