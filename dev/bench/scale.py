"""make bench-scale: the same listings among a million and among ROWS products, in two databases of one MariaDB.

Milliseconds of products.listing.queries.find(), as in listing.py, and rows that MySQL read. An entry is a listing in a
sort, on its first page or on a page from the middle of the sort field's range. Both databases take turns.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tqdm import tqdm

from dev.bench.figures import DASH, save, table
from dev.bench.filling import Filled, fill, process_of
from dev.testing.databases import rows_read
from products import vocabulary
from products.listing.conditions import Flag, OneOf, Prefix, Priced, Word
from products.listing.listings import Position, Sort
from products.listing.queries import find
from products.listing.statistics import current, reset
from products.models import Farm

BASE = 1_000_000
ROUNDS = 7
REPEATS = 5  # in each round
LIMIT = 25
SORTS = ("-created_at", "created_at", "-price", "price", "-name", "name")
MIDDLE = {"created_at": dt.datetime(2025, 7, 1, tzinfo=dt.UTC), "price": Decimal("60.00"), "name": "Mango, Grade B"}

Entry = tuple[str, str, str]  # listing, sort, page


class Cell(NamedTuple):
    milliseconds: list[float]
    rows_read: list[int]

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)


Cells = dict[Entry, Cell]


def one_of(field: str, *slugs: str) -> OneOf:
    return OneOf(field, tuple(vocabulary.find(field, slug) or 0 for slug in slugs))


def listings() -> dict[str, list[Any]]:
    """name -> conditions."""
    return {
        "no filter": [],
        "category": [one_of("category", "vegetables")],
        "two categories": [one_of("category", "fruits", "spices")],
        "commodity": [one_of("commodity", "tomato")],
        "state": [one_of("state", "uttar-pradesh")],
        "farm": [OneOf("farm", (Farm.objects.earliest("pk").pk,))],
        "price 45 to 46": [Priced(Decimal(45), Decimal(46))],
        "word": [Prefix("tomato")],
        "frequent word": [Word("b")],
        "organic": [Flag("organic", True)],
        "word and state": [Prefix("tomato"), one_of("state", "uttar-pradesh")],
        "two words": [Word("organic"), Prefix("tomato")],
    }


def entries() -> list[Entry]:
    return list(itertools.product(listings(), SORTS, ("first", "middle")))


def take_sample() -> None:
    """Plans depend on it, so each round has another."""
    reset()
    current()


def measure(entry: Entry) -> Cell:
    """In the process of one database."""
    name, text, page = entry
    conditions, sort = listings()[name], Sort.parse(text)
    after = Position(MIDDLE[sort.field], 1) if page == "middle" else None
    count = rows_read(lambda: find(conditions, sort, after, LIMIT + 1))
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        find(conditions, sort, after, LIMIT + 1)
        times.append((time.perf_counter() - start) * 1000)
    return Cell(times, [count])


def compare(urls: Sequence[str]) -> list[Cells]:
    """The cells of each database, which take turns at each entry. The first round only warms the buffer pool."""
    results: list[Cells] = [{} for _ in urls]
    with ExitStack() as stack:
        pools = [stack.enter_context(process_of(url)) for url in urls]
        for number in range(ROUNDS + 1):
            for pool in pools:
                pool.submit(take_sample).result()
            for entry in tqdm(pools[0].submit(entries).result(), disable=None):
                for pool, cells in zip(pools, results, strict=True):
                    cell = pool.submit(measure, entry).result()
                    if number > 1:
                        cell = Cell(
                            cells[entry].milliseconds + cell.milliseconds, cells[entry].rows_read + cell.rows_read
                        )
                    cells[entry] = cell
    return results


def entry_lines(base: Cells, large: Cells) -> list[tuple[str, ...]]:
    return [
        (
            *entry,
            *(f"{cells[entry].median:.2f}" for cells in (base, large)),
            *(f"{max(cells[entry].rows_read):,}" for cells in (base, large)),
            f"{large[entry].median / base[entry].median:.2f}",
        )
        for entry in base
    ]


def listing_lines(base: Cells, large: Cells) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name in dict.fromkeys(entry[0] for entry in base):
        entries = [entry for entry in base if entry[0] == name]
        small, big = (statistics.median(cells[entry].median for entry in entries) for cells in (base, large))
        worst = max(large[entry].median / base[entry].median for entry in entries)
        lines.append((name, f"{small:.2f}", f"{big:.2f}", f"{worst:.2f}", f"{big / small:.2f}"))
    return lines


def filling_lines(filled: Sequence[Filled]) -> list[tuple[str, ...]]:
    names = dict.fromkeys(name for each in filled for name in each.seconds)
    return [
        *(
            (f"{name}, s", *(f"{each.seconds[name]:,.0f}" if name in each.seconds else DASH for each in filled))
            for name in names
        ),
        ("memory of the command, at most, MB", *(each.megabytes or DASH for each in filled)),
        ("tables and indexes, GB", *(each.gigabytes for each in filled)),
    ]


def main(rows: int) -> None:
    sizes = (BASE, rows)
    url = urlsplit(os.environ["DATABASE_URL"])
    urls = [url._replace(path=f"/farmlokal_{size}").geturl() for size in sizes]
    filled = [fill(url, size) for url, size in zip(urls, sizes, strict=True)]
    base, large = compare(urls)
    heads = [f"{size:,} products" for size in sizes]
    times = [f"{head}, ms" for head in heads]
    print(table(("listing", "sort", "page", *times, "rows read", "rows read", "ratio"), entry_lines(base, large)))
    columns, lines = ("listing", *times, "largest ratio of a page", "ratio"), listing_lines(base, large)
    print(f"\n{table(columns, lines)}")
    save("scale", f"make bench-scale ROWS={rows}", columns, lines)
    columns, lines = ("`seed_products`", *heads), filling_lines(filled)
    print(f"\n{table(columns, lines)}")
    if all(each.megabytes for each in filled):
        save("scale_seed", f"make bench-scale ROWS={rows}", columns, lines)
