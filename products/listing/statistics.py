"""The planner's statistics: a random sample of the catalogue in memory, renewed every few minutes.

Listed and withdrawn products have separate statistics, taken from the same sample.

A wrong estimate can make a page slower or shorter, but never wrong.
"""

from __future__ import annotations

import operator
import random
import threading
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeAlias

from django.db.models import Max, Min

from products.models import INDEXED_FILTERS, SORT_FIELDS, Product

SAMPLE_ROWS = 4096
MAX_AGE_SECONDS = 600
MAX_AGE_OF_SMALL_CATALOGUE_SECONDS = 60  # a catalogue that fits into the sample may soon be a different one
SEGMENTS = 16
HITS_PER_STRETCH = 8
PRICE_BLOCK = 64
CACHED_SETS = 5000
COLUMNS = (*SORT_FIELDS, *INDEXED_FILTERS, "organic", "stock", "words")

# One bit for each sampled product, in the order of a sort field.
SampleSet: TypeAlias = int


class Statistics:
    def __init__(self, rows: Sequence[dict[str, Any]], scale: float, *, is_active: bool = True) -> None:
        """scale: the number of products in the catalogue for each row. is_active: whether the rows are listed."""
        self.is_active = is_active
        self.count = len(rows)
        self.scale = scale
        self.nonempty_sources: set[Any] = set()  # found to have products, though none of them was sampled
        self._rows_with: defaultdict[tuple[str, Any], list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            for name, value in _values(row):
                self._rows_with[name, value].append(number)
        self._words = sorted(value for name, value in self._rows_with if name == "word")
        self._by_price = sorted(range(self.count), key=lambda number: rows[number]["price"])
        self._prices = [rows[number]["price"] for number in self._by_price]
        self._ranks = {field: _ranks([_sort_key(row[field]) for row in rows]) for field in SORT_FIELDS}
        self._price_blocks = {field: self._find_price_blocks(field) for field in SORT_FIELDS}
        self._with_value = lru_cache(maxsize=CACHED_SETS)(self._find_with_value)

    @property
    def is_complete(self) -> bool:
        """Whether the sample was the whole catalogue. Products may have been added since."""
        return self.scale == 1

    def all_products(self) -> SampleSet:
        return (1 << self.count) - 1

    def with_any(self, order: str, name: str, values: Iterable[Any]) -> SampleSet:
        """Products with one of these values. name: one of INDEXED_FILTERS, "organic", "in_stock" or "word"."""
        products = 0
        for value in values:
            products |= self._with_value(order, name, value)
        return products

    def _find_with_value(self, order: str, name: str, value: Any) -> SampleSet:
        return self._set(order, self._rows_with.get((name, value), ()))

    def with_price(self, order: str, low: Decimal | None, high: Decimal | None) -> SampleSet:
        start = 0 if low is None else bisect_left(self._prices, low)
        end = self.count if high is None else bisect_right(self._prices, high)
        return self._cheapest(order, end) & ~self._cheapest(order, start)

    def _cheapest(self, order: str, count: int) -> SampleSet:
        """The first products by price. Prices are seldom asked twice, so no cache of ranges would help."""
        blocks, ranks = self._price_blocks[order], self._ranks[order]
        products = blocks[count // PRICE_BLOCK]
        for number in self._by_price[count // PRICE_BLOCK * PRICE_BLOCK : count]:
            products |= 1 << ranks[number]
        return products

    def _find_price_blocks(self, order: str) -> list[SampleSet]:
        """The first 0, PRICE_BLOCK, 2 * PRICE_BLOCK… products by price."""
        starts = range(0, self.count, PRICE_BLOCK)
        blocks = (self._set(order, self._by_price[start : start + PRICE_BLOCK]) for start in starts)
        return list(accumulate(blocks, operator.or_, initial=0))

    def words_with_prefix(self, prefix: str) -> list[str]:
        """The sampled words that begin with the prefix, the most frequent first."""
        start, end = bisect_left(self._words, prefix), bisect_left(self._words, prefix + "\U0010ffff")
        return sorted(self._words[start:end], key=lambda word: -len(self._rows_with["word", word]))

    def size(self, products: SampleSet) -> float:
        """The estimated number of products in the catalogue. Never 0: the sample may have missed some."""
        return max(products.bit_count(), 0.5) * self.scale

    def estimate_reads(self, candidates: SampleSet, matches: SampleSet, count: int) -> float:
        """How many candidates must be read, in order, to find `count` matches.

        If matches are unevenly distributed, the estimate is for the worst stretch of the order. A stretch should have
        HITS_PER_STRETCH matches: a few sampled candidates may lack them by chance, in a large catalogue too.
        """
        share = matches.bit_count() / max(1, candidates.bit_count())
        width = max(1, -(-self.count // SEGMENTS))
        mask = (1 << width) - 1
        worst = without_match = 0.0
        reads = hits = 0
        for start in range(0, self.count, width):
            reads += ((candidates >> start) & mask).bit_count()
            hits += ((matches >> start) & mask).bit_count()
            if max(hits, reads * share) >= HITS_PER_STRETCH:
                without_match = 0.0 if hits else without_match + reads * self.scale
                worst = max(worst, count * reads / hits if hits else without_match)
                reads = hits = 0
        if not worst:  # the whole order is one stretch
            worst = count * reads / hits if hits else reads * self.scale
        return min(max(worst, count), self.size(candidates))

    def _set(self, order: str, numbers: Iterable[int]) -> SampleSet:
        ranks = self._ranks[order]
        bits = bytearray(self.count // 8 + 1)
        for number in numbers:
            rank = ranks[number]
            bits[rank >> 3] |= 1 << (rank & 7)
        return int.from_bytes(bits, "little")


def _values(row: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    yield from ((field, row[field]) for field in INDEXED_FILTERS)
    yield "organic", row["organic"]
    yield "in_stock", row["stock"] > 0
    yield from (("word", word) for word in row["words"].split())


def _ranks(keys: Sequence[Any]) -> list[int]:
    """The position of each key in sorted order."""
    ranks = [0] * len(keys)
    for rank, number in enumerate(sorted(range(len(keys)), key=keys.__getitem__)):
        ranks[number] = rank
    return ranks


def _sort_key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


class _Current:
    statistics: dict[bool, Statistics] | None = None  # by is_active
    expires_at = 0.0


_refreshing = threading.Lock()


def current(*, is_active: bool = True) -> Statistics:
    """This process's statistics. Taken on first use: two statements, about 100 ms for any catalogue.

    While one thread renews them, the others use the old ones.
    """
    statistics = _Current.statistics
    if statistics and (time.monotonic() < _Current.expires_at or not _refreshing.acquire(blocking=False)):
        return statistics[is_active]
    if not statistics:
        _refreshing.acquire()
    try:
        if not _Current.statistics or time.monotonic() >= _Current.expires_at:
            _Current.statistics = _take()
            is_complete = _Current.statistics[True].is_complete
            max_age = MAX_AGE_OF_SMALL_CATALOGUE_SECONDS if is_complete else MAX_AGE_SECONDS
            _Current.expires_at = time.monotonic() + max_age
        return _Current.statistics[is_active]
    finally:
        _refreshing.release()


def reset() -> None:
    """The next use takes a new sample."""
    _Current.statistics = None


def _take() -> dict[bool, Statistics]:
    ends = Product.objects.aggregate(low=Min("pk"), high=Max("pk"))
    ids = range(ends["low"] or 0, (ends["high"] or -1) + 1)
    chosen = random.sample(ids, min(len(ids), SAMPLE_ROWS))  # no secret
    rows = Product.objects.filter(pk__in=chosen).values(*COLUMNS, "is_active")
    by_state: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for row in rows:
        by_state[row["is_active"]].append(row)
    scale = len(ids) / len(chosen) if chosen else 1.0
    return {is_active: Statistics(of, scale, is_active=is_active) for is_active, of in by_state.items()}
