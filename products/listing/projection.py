"""The members of a product, and products with only some of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ALL = (
    *("id", "name", "slug", "description", "category", "commodity", "variety", "grade", "farm", "district", "state"),
    *("price", "currency", "unit", "stock", "in_stock", "organic", "created_at", "updated_at"),
)


def only(documents: Iterable[dict[str, Any]], fields: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """fields: None for all."""
    if fields is None:
        return list(documents)
    return [{name: document[name] for name in fields} for document in documents]
