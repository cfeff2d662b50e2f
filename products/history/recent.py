"""The newest changes of the whole catalogue, for the overview of the admin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import Value
from django.urls import reverse
from django.utils.text import capfirst

from products.history.tables import MODELS

KINDS = {"+": "Created", "~": "Changed", "-": "Deleted"}


class RecentChange(NamedTuple):
    at: dt.datetime
    by: str
    kind: str  # Created, Changed or Deleted
    model: type[Any]
    name: str  # of the object, after the change
    fields: list[str]  # labels of the changed fields
    url: str  # of the object's history


def recent_changes(limit: int, models: Sequence[type[Any]] = MODELS) -> list[RecentChange]:
    """Newest first. One statement, which reads the last `limit` rows of each table by primary key."""
    if not models:
        return []
    first, *others = (_newest(number, model, limit) for number, model in enumerate(models))
    rows = first.union(*others, all=True) if others else first
    newest = sorted(rows, key=lambda row: row["history_date"], reverse=True)[:limit]
    return [_described(row, models[row["number"]]) for row in newest]


def _newest(number: int, model: Any, limit: int) -> Any:
    columns = ("history_date", "history_user_id", "history_type", "id", "name", "before")
    return model.history.annotate(number=Value(number)).order_by("-history_id").values("number", *columns)[:limit]


def _described(row: dict[str, Any], model: Any) -> RecentChange:
    fields = {field.attname: capfirst(field.verbose_name) for field in model._meta.fields}
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_history", args=[row["id"]])
    labels = [fields[name] for name in row["before"]]
    return RecentChange(
        row["history_date"], row["history_user_id"], KINDS[row["history_type"]], model, row["name"], labels, url
    )
