"""The conditions of a listing.

Each can be checked on a product's row. Most also lead to their products, through an index in the order of the sort.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple, Protocol

from products.listing.sources import (
    ENTRY_COST,
    LOOKUP_COST,
    Source,
    Sql,
    filtered_catalogue,
    postings,
    whole_catalogue,
)
from products.listing.statistics import SampleSet, Statistics

MAX_PREFIX_SOURCES = 16
MAX_REST_ROWS = 20_000


class Condition(Protocol):
    """Immutable and hashable."""

    def sql(self) -> Sql:
        """The check of a row `p` of the product table."""

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        """The sampled products that meet the condition."""

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        """Sources that together contain exactly the products that meet the condition. Empty if no index serves it.

        statistics.is_active tells whether listed or withdrawn products are wanted.
        """


class OneOf(NamedTuple):
    """category, commodity, state, district or farm is one of these ids."""

    field: str
    ids: tuple[int, ...]

    def sql(self) -> Sql:
        return Sql(f"p.{self.field}_id IN ({', '.join(['%s'] * len(self.ids))})", self.ids)

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return statistics.with_any(order, self.field, self.ids)

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        for pk in self.ids:
            yield filtered_catalogue(self.field, pk, order, is_active=statistics.is_active)


class Word(NamedTuple):
    word: str

    def sql(self) -> Sql:
        return Sql("p.words LIKE %s", (f"% {self.word} %",))

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return statistics.with_any(order, "word", (self.word,))

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        if statistics.is_active:
            yield postings(order, Sql("t.term = %s", (self.word,)))


class Prefix(NamedTuple):
    """A word that begins with these letters."""

    letters: str

    def sql(self) -> Sql:
        return Sql("p.words LIKE %s", (f"% {self.letters}%",))

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return statistics.with_any(order, "word", statistics.words_with_prefix(self.letters))

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        """An ordered source for each frequent word, and an unordered source of all other words, sampled or not.

        None if the other words have too many postings.
        """
        if not statistics.is_active:
            return
        words = statistics.words_with_prefix(self.letters)
        rest = sum(statistics.size(statistics.with_any(order, "word", (word,))) for word in words[MAX_PREFIX_SOURCES:])
        if rest > MAX_REST_ROWS:
            return
        frequent = words[:MAX_PREFIX_SOURCES]
        for word in frequent:
            yield postings(order, Sql("t.term = %s", (word,)))
        exclusions = "".join(" AND t.term <> %s" for _ in frequent)
        where = Sql(f"t.term LIKE %s{exclusions}", (f"{self.letters}%", *frequent))
        yield postings(order, where)._replace(is_ordered=False, has_repeats=True, cost=rest * ENTRY_COST)


class Priced(NamedTuple):
    """A price range in rupees, with both ends. None: no limit on that side."""

    low: Decimal | None
    high: Decimal | None

    def bounds(self, column: str) -> Sql:
        parts = [Sql(f"{column} >= %s", (self.low,))] if self.low is not None else []
        parts += [Sql(f"{column} <= %s", (self.high,))] if self.high is not None else []
        return Sql.all_of(parts)

    def sql(self) -> Sql:
        return self.bounds("p.price")

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return statistics.with_price(order, self.low, self.high)

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        whole = whole_catalogue("price", is_active=statistics.is_active)
        yield self.narrow(whole, self.sampled(statistics, order), statistics)

    def narrow(self, source: Source, sampled: SampleSet, statistics: Statistics) -> Source:
        """The part of a source in price order that is within the range. It is unordered: the sort is another one."""
        where = Sql.all_of([source.where, self.bounds("p.price")])
        # The price index of the whole catalogue contains all sort fields. With the others, each product is looked up.
        cost = ENTRY_COST if source.is_whole else LOOKUP_COST
        return source._replace(where=where, is_ordered=False, cost=statistics.size(sampled) * cost)


class Flag(NamedTuple):
    """organic or in_stock is true or false."""

    name: str
    is_set: bool

    def sql(self) -> Sql:
        if self.name == "in_stock":
            return Sql("p.stock > 0" if self.is_set else "p.stock = 0")
        return Sql("p.organic = %s", (self.is_set,))

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return statistics.with_any(order, self.name, (self.is_set,))

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield from ()


class Nothing(NamedTuple):
    """No product meets it, such as an unknown commodity."""

    def sql(self) -> Sql:
        return Sql("FALSE")

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return 0

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield from ()
