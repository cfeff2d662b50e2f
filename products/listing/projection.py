"""The parameters `fields` and `ids`: which members of a product, and which products, in the caller's own order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from farmlokal.http.problems import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import QueryDict

FIELDS = "fields"
IDS = "ids"
MAX_IDS = 100
ALL = (
    *("id", "name", "slug", "description", "category", "commodity", "variety", "grade", "farm", "district", "state"),
    *("price", "currency", "unit", "stock", "in_stock", "organic", "created_at", "updated_at"),
)


def items_of(query: QueryDict, name: str) -> list[str]:
    """Splits ids=1,2 and ids=1&ids=2 alike, also mixed: generated clients repeat the parameter."""
    return ",".join(query.getlist(name)).split(",")


def read_fields(query: QueryDict) -> tuple[str, ...] | None:
    """The fields in the order of ALL, always with the id; None for all of them."""
    if FIELDS not in query:
        return None
    names = items_of(query, FIELDS)
    if unknown := [name for name in names if name not in ALL]:
        raise InvalidParameter(FIELDS, f"has the unknown field {unknown[0][:100]!r}.", ALL)
    chosen = tuple(name for name in ALL if name in {"id", *names})
    return None if chosen == ALL else chosen


def only(documents: Iterable[dict[str, Any]], fields: tuple[str, ...] | None) -> list[dict[str, Any]]:
    if fields is None:
        return list(documents)
    return [{name: document[name] for name in fields} for document in documents]


def read_ids(query: QueryDict) -> list[int]:
    """Each id once, in the order asked for."""
    items = items_of(query, IDS)
    if len(items) > MAX_IDS or not all(re.fullmatch("[0-9]{1,18}", item) for item in items):
        raise InvalidParameter(IDS, f"must be 1 to {MAX_IDS} whole numbers: ids=1,2 or ids=1&ids=2.")
    return list(dict.fromkeys(map(int, items)))
