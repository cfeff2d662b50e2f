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
    is_whole: bool = False  # the whole catalogue, whose indexes have more columns: COVERED
    cost: float = 0.0  # of reading and sorting an unordered source, in microseconds

    def table_by_index(self) -> str:
        return f"{self.table} {self.alias} FORCE INDEX (`{self.index_name}`)"


def whole_catalogue(order: str, *, is_active: bool = True) -> Source:
    return Source(PRODUCTS, "p", f"product_{order}", "p.id", Sql(f"p.is_active = {is_active:d}"), is_whole=True)


def filtered_catalogue(field: str, pk: int, order: str, *, is_active: bool = True) -> Source:
    where = Sql(f"p.{field}_id = %s AND p.is_active = {is_active:d}", (pk,))
    return Source(PRODUCTS, "p", f"product_{field}_{order}", "p.id", where)


def postings(order: str, where: Sql) -> Source:
    """Of listed products only: withdrawn ones have no postings."""
    index = "PRIMARY" if order == "created_at" else f"posting_{order}"
    return Source(POSTINGS, "t", index, "t.product_id", where)
