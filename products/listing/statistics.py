"""What the planner knows about the catalogue: a random sample of it in memory, taken anew every few minutes.

A wrong estimate can make a page slower or shorter, never wrong.
"""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db.models import Max, Min

from products.models import INDEXED_FILTERS, SORT_FIELDS, Product

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

SAMPLE_ROWS = 4096
MAX_AGE_SECONDS = 600
MAX_AGE_OF_ALL_SECONDS = 60  # a catalogue that fits into the sample can be another one soon
SEGMENTS = 16
HITS_PER_SEGMENT = 8
COLUMNS = (*SORT_FIELDS, *INDEXED_FILTERS, "organic", "stock", "words")


class Statistics:
    """Sets of sampled products are integers, one bit a product, in the order of one of the sort fields."""

    def __init__(self, rows: Sequence[dict[str, Any]], scale: float) -> None:
        """scale: how many products of the catalogue each row stands for."""
        self.count = len(rows)
        self.scale = scale
        self.rows_of: defaultdict[tuple[str, Any], list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            for field in INDEXED_FILTERS:
                self.rows_of[field, row[field]].append(number)
            self.rows_of["organic", row["organic"]].append(number)
            self.rows_of["in_stock", row["stock"] > 0].append(number)
            for word in row["words"].split():
                self.rows_of["word", word].append(number)
        self.words = sorted(value for name, value in self.rows_of if name == "word")
        self.by_price = sorted(range(self.count), key=lambda number: row_price(rows[number]))
        self.prices = [row_price(rows[number]) for number in self.by_price]
        self.place: dict[str, list[int]] = {}
        for field in SORT_FIELDS:
            self.place[field] = places = [0] * self.count
            for place, number in enumerate(sorted(range(self.count), key=lambda n: _sort_key(rows[n][field]))):
                places[number] = place
        self.not_empty: set[Any] = set()  # sources that were found not to be, though the sample has none of theirs
        self.of = lru_cache(maxsize=5000)(self._of)

    def everything(self) -> int:
        return (1 << self.count) - 1

    def _of(self, order: str, name: str, value: Any) -> int:
        """The set of products with this value: of one of INDEXED_FILTERS, "organic", "in_stock" or "word"."""
        return self._set(order, self.rows_of.get((name, value), ()))

    def priced(self, order: str, low: Decimal | None, high: Decimal | None) -> int:
        start = 0 if low is None else bisect_left(self.prices, low)
        end = self.count if high is None else bisect_right(self.prices, high)
        return self._set(order, self.by_price[start:end])

    def words_with(self, prefix: str) -> list[str]:
        """The sampled words that begin with the prefix, the most frequent first."""
        found = self.words[bisect_left(self.words, prefix) : bisect_left(self.words, prefix + "\U0010ffff")]
        return sorted(found, key=lambda word: -len(self.rows_of["word", word]))

    def size(self, products: int) -> float:
        """How many products of the catalogue a set stands for; one that the sample missed is not taken for empty."""
        return max(products.bit_count(), 0.5) * self.scale

    def walk(self, among: int, wanted: int, count: int) -> float:
        """How many products of `among` are read, in their order, until `count` wanted ones are found; where these
        lie unevenly in the order, at the worst place of it."""
        segments = max(1, min(SEGMENTS, wanted.bit_count() // HITS_PER_SEGMENT))
        width = max(1, -(-self.count // segments))
        mask = (1 << width) - 1
        worst = run = 0.0
        for start in range(0, self.count, width):
            read = ((among >> start) & mask).bit_count()
            if found := ((wanted >> start) & mask).bit_count():
                worst, run = max(worst, run, count * read / found), 0.0
            else:
                run += read * self.scale
        return min(max(worst, run, count), self.size(among))

    def _set(self, order: str, numbers: Iterable[int]) -> int:
        places = self.place[order]
        bits = bytearray(self.count // 8 + 1)
        for number in numbers:
            place = places[number]
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")


def row_price(row: dict[str, Any]) -> Decimal:
    price: Decimal = row["price"]
    return price


def _sort_key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


class _Held:
    statistics: Statistics | None = None
    until = 0.0


_refreshing = threading.Lock()


def current() -> Statistics:
    """The sample of this process. Taken by the first who needs it (two statements, some 100 ms at any size of the
    catalogue); while one takes a new one, the others go on with the old."""
    held = _Held.statistics
    if held and (time.monotonic() < _Held.until or not _refreshing.acquire(blocking=False)):
        return held
    if not held:
        _refreshing.acquire()
    try:
        if not _Held.statistics or time.monotonic() >= _Held.until:
            _Held.statistics = take()
            is_all = _Held.statistics.scale == 1
            _Held.until = time.monotonic() + (MAX_AGE_OF_ALL_SECONDS if is_all else MAX_AGE_SECONDS)
        return _Held.statistics
    finally:
        _refreshing.release()


def reset() -> None:
    """The next who needs it takes a new sample."""
    _Held.statistics = None


def take() -> Statistics:
    ends = Product.objects.aggregate(low=Min("pk"), high=Max("pk"))
    ids = range(ends["low"] or 0, (ends["high"] or -1) + 1)
    chosen = random.sample(ids, min(len(ids), SAMPLE_ROWS))  # an estimate, no secret
    rows = list(Product.objects.listed().filter(pk__in=chosen).values(*COLUMNS))
    return Statistics(rows, len(ids) / len(chosen) if chosen else 1.0)
