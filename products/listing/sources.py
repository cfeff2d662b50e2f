"""SQL fragments, and the index ranges from which a page can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from products.models import Posting, Product

# Microseconds, measured on MariaDB 10.11. Only their ratio matters.
LOOKUP_COST = 3.0  # a product by its id
ENTRY_COST = 0.4  # an index entry, read in order or sorted

PRODUCTS = f"`{Product._meta.db_table}`"
POSTINGS = f"`{Posting._meta.db_table}`"


class Sql(NamedTuple):
    text: str
    params: tuple[Any, ...] = ()

    @classmethod
    def all_of(cls, parts: Sequence[Sql]) -> Sql:
        return cls(" AND ".join(part.text for part in parts), tuple(p for part in parts for p in part.params))


class Source(NamedTuple):
    """An index range of (sort field, product id): all products with some property.

    An ordered source is in the order of the sort: reading can start and stop anywhere in it.
    An unordered source is read completely and sorted before the first row.
    """

    table: str
    alias: str
    index_name: str
    key: str  # the column with the product's id
    where: Sql
    is_ordered: bool = True
    has_repeats: bool = False
    cost: float = 0.0  # of reading and sorting an unordered source, in microseconds


def whole_catalogue(order: str) -> Source:
    return Source(PRODUCTS, "p", f"product_{order}", "p.id", Sql("p.is_active = 1"))


def filtered_catalogue(field: str, pk: int, order: str) -> Source:
    where = Sql(f"p.{field}_id = %s AND p.is_active = 1", (pk,))
    return Source(PRODUCTS, "p", f"product_{field}_{order}", "p.id", where)


def postings(order: str, where: Sql) -> Source:
    index = "PRIMARY" if order == "created_at" else f"posting_{order}"
    return Source(POSTINGS, "t", index, "t.product_id", where)
