"""What a listing may ask for. Each condition can be checked at a product's row, and most can lead to the
products that meet it: through an index that holds them in the order of the sort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from products.models import Posting, Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from products.listing.statistics import Statistics

MAX_LISTS = 16
MAX_REST_ROWS = 20_000

# Microseconds as measured on MariaDB 10.11; only their ratio counts.
LOOKUP_COST = 3.0  # a product by its id
ENTRY_COST = 0.4  # an entry of an index, read in order or sorted

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

    An ordered one is in the order of the sort: it can be read from any place and left at any place.
    Another is read whole and sorted, at a cost before the first row.
    """

    table: str
    alias: str
    index_name: str
    key: str  # the column with the product's id
    where: Sql
    is_ordered: bool = True
    has_repeats: bool = False
    cost: float = 0.0  # estimated microseconds


class Condition(Protocol):
    """Hashable and immutable."""

    def sql(self) -> Sql:
        """For a row p of the product table."""

    def products(self, statistics: Statistics, order: str) -> int:
        """The sampled products that meet it, as a set of the statistics."""

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        """Index ranges that together hold all products that meet it; none if no index leads to them."""


class OneOf(NamedTuple):
    """category, commodity, state, district or farm is one of these ids."""

    field: str
    ids: tuple[int, ...]

    def sql(self) -> Sql:
        return Sql(f"p.{self.field}_id IN ({', '.join(['%s'] * len(self.ids))})", self.ids)

    def products(self, statistics: Statistics, order: str) -> int:
        found = 0
        for pk in self.ids:
            found |= statistics.of(order, self.field, pk)
        return found

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        for pk in self.ids:
            where = Sql(f"p.{self.field}_id = %s AND p.is_active = 1", (pk,))
            yield Source(PRODUCTS, "p", f"product_{self.field}_{order}", "p.id", where)


class Word(NamedTuple):
    word: str

    def sql(self) -> Sql:
        return Sql("p.words LIKE %s", (f"% {self.word} %",))

    def products(self, statistics: Statistics, order: str) -> int:
        return statistics.of(order, "word", self.word)

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield posted(order, Sql("t.term = %s", (self.word,)))


class Prefix(NamedTuple):
    """A word that begins with these letters."""

    letters: str

    def sql(self) -> Sql:
        return Sql("p.words LIKE %s", (f"% {self.letters}%",))

    def products(self, statistics: Statistics, order: str) -> int:
        found = 0
        for word in statistics.words_with(self.letters):
            found |= statistics.of(order, "word", word)
        return found

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        """The lists of the frequent words, each in order, and the others together: whatever words there are,
        sampled or not. None where those others are too many."""
        words = statistics.words_with(self.letters)
        rest = sum(statistics.size(statistics.of(order, "word", word)) for word in words[MAX_LISTS:])
        if rest > MAX_REST_ROWS:
            return
        own = words[:MAX_LISTS]
        for word in own:
            yield posted(order, Sql("t.term = %s", (word,)))
        others = "".join(" AND t.term <> %s" for _ in own)
        where = Sql(f"t.term LIKE %s{others}", (f"{self.letters}%", *own))
        yield posted(order, where)._replace(is_ordered=False, has_repeats=True, cost=rest * ENTRY_COST)


def posted(order: str, where: Sql) -> Source:
    index = "PRIMARY" if order == "created_at" else f"posting_{order}"
    return Source(POSTINGS, "t", index, "t.product_id", where)


class Priced(NamedTuple):
    """Rupees, both ends included; no end is None."""

    low: Decimal | None
    high: Decimal | None

    def bounds(self, column: str) -> Sql:
        parts = [Sql(f"{column} >= %s", (self.low,))] if self.low is not None else []
        parts += [Sql(f"{column} <= %s", (self.high,))] if self.high is not None else []
        return Sql.all_of(parts)

    def sql(self) -> Sql:
        return self.bounds("p.price")

    def products(self, statistics: Statistics, order: str) -> int:
        return statistics.priced(order, self.low, self.high)

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield self.narrowing(whole_catalogue("price"), self.products(statistics, order), statistics)

    def narrowing(self, source: Source, products: int, statistics: Statistics) -> Source:
        """The priced among the products of a source in the order of price, when that is not the order asked for."""
        where = Sql.all_of([source.where, self.bounds("p.price")])
        # The index of the whole catalogue holds all sort fields; from another one each product is looked up.
        cost = ENTRY_COST if source == whole_catalogue("price") else LOOKUP_COST
        return source._replace(where=where, is_ordered=False, cost=statistics.size(products) * cost)


class Flag(NamedTuple):
    """organic or in_stock is as asked."""

    name: str
    is_set: bool

    def sql(self) -> Sql:
        if self.name == "in_stock":
            return Sql("p.stock > 0" if self.is_set else "p.stock = 0")
        return Sql("p.organic = %s", (self.is_set,))

    def products(self, statistics: Statistics, order: str) -> int:
        return statistics.of(order, self.name, self.is_set)

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield from ()


class Nothing(NamedTuple):
    """What no product can meet, such as a commodity that is not known."""

    def sql(self) -> Sql:
        return Sql("FALSE")

    def products(self, statistics: Statistics, order: str) -> int:
        return 0

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield from ()


def whole_catalogue(order: str) -> Source:
    return Source(PRODUCTS, "p", f"product_{order}", "p.id", Sql("p.is_active = 1"))
