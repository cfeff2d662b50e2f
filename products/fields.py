"""The parameter `fields`: only these members of each product, and always its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farmlokal.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rest_framework.request import Request

PARAM = "fields"
ALL = (
    *("id", "name", "slug", "description", "category", "commodity", "variety", "grade", "farm", "district", "state"),
    *("price", "currency", "unit", "stock", "in_stock", "organic", "created_at", "updated_at"),
)


def read_fields(request: Request) -> tuple[str, ...] | None:
    """The fields in the order of ALL, or None for all of them."""
    text = request.query_params.get(PARAM)
    if text is None:
        return None
    names = text.split(",")
    if unknown := [name for name in names if name not in ALL]:
        raise InvalidParameter(PARAM, f"has the unknown field {unknown[0][:100]!r}.", ALL)
    chosen = tuple(name for name in ALL if name in {"id", *names})
    return None if chosen == ALL else chosen


def only(documents: Iterable[dict[str, Any]], fields: tuple[str, ...] | None) -> list[dict[str, Any]]:
    if fields is None:
        return list(documents)
    return [{name: document[name] for name in fields} for document in documents]
