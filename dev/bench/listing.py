"""make bench-listing: each kind of listing, in each sort, on its first, middle and last page.

Times products.listing.queries.find(): plan, statement and rows, without HTTP and JSON. Beside it stands the fastest
single-source statement without a row budget, of all that the planner considers. Rows read are the server's own count.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.core.management import call_command
from django.db import OperationalError, connection
from tqdm import tqdm

from dev.bench.figures import DASH, percentile, save, table
from dev.testing.databases import rows_read
from products.listing import plans, queries
from products.listing import statistics as catalogue_statistics
from products.listing.conditions import Flag, OneOf, Prefix, Priced, Word
from products.listing.listings import Position, Sort
from products.listing.sources import POSTINGS, PRODUCTS, Sql
from products.models import Product

LIMIT = 25
REPEATS = 11
COMBINATION_REPEATS = 3
COMBINATIONS = 200
SORTS = ("-created_at", "created_at", "-price", "price", "-name", "name")
MAX_RAW_SECONDS = 0.5
PAGES = ("first", "middle", "last")
HEAD = ("listing", "p50 ms", "p95 ms", "rows read", "best raw SQL ms", "rows read")
SUMMARY = ("listing", *(f"{page} page, p50 ms" for page in PAGES), "p95 ms", "rows read", *HEAD[-2:])


class Cell(NamedTuple):
    """One page of one listing in one sort."""

    times: list[float]  # milliseconds
    rows_read: int
    raw_time: float  # milliseconds; infinite where each raw statement exceeds MAX_RAW_SECONDS
    raw_rows_read: int


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def run(sql: Sql) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql.text, sql.params)
        return tuple(cursor.fetchall())


def limit_statements(seconds: float) -> None:
    """Let the server end statements that take longer."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET @x = 1 /*M! , max_statement_time = {seconds} */"
            f" /*!80000 , max_execution_time = {int(seconds * 1000)} */"
        )


def largest(field: str) -> OneOf:
    """The value of this field that most products have."""
    sql = f"SELECT {field}_id FROM products_product GROUP BY {field}_id ORDER BY COUNT(*) DESC LIMIT 1"
    return OneOf(field, (run(Sql(sql))[0][0],))


def cases() -> dict[str, list[Any]]:
    """name -> conditions, with words of given frequencies per million products."""
    terms = run(Sql("SELECT term, COUNT(*) FROM products_posting GROUP BY term"))
    share = max(count for _, count in terms) / 1_000_000
    categories = tuple(pk for (pk,) in run(Sql("SELECT id FROM products_category"))[:2])
    listings: dict[str, list[Any]] = {"no filter": []}
    for field in ("category", "commodity", "state", "district", "farm"):
        listings[f"largest {field}"] = [largest(field)]
    listings |= {
        "two categories": [OneOf("category", categories)],
        "organic": [Flag("organic", True)],
        "out of stock": [Flag("in_stock", False)],
        "price 45 to 46": [Priced(Decimal(45), Decimal(46))],
        "price from 100": [Priced(Decimal(100), None)],
    }
    for size, count in ((20, 20), (5_000, 5_000 * share), (50_000, 50_000 * share), (300_000, 300_000 * share)):
        term, _ = min(terms, key=lambda row: abs(row[1] - count))
        listings[f"word of {size:,} ({term})"] = [Prefix(term) if len(term) >= 3 else Word(term)]
    listings["prefix (man)"] = [Prefix("man")]
    listings["two common words (organic tomato)"] = [Word("organic"), Prefix("tomato")]
    listings["never together (nadu assam)"] = [Word("nadu"), Prefix("assam")]
    return listings


def combinations(rng: random.Random) -> list[list[Any]]:
    """Two or three random conditions, taken from two random products."""
    ids = [rng.randrange(1, Product.objects.latest("pk").pk) for _ in range(3 * COMBINATIONS)]
    products = list(Product.objects.filter(pk__in=ids))
    rng.shuffle(products)
    pairs = list(zip(products[::2], products[1::2], strict=False))[:COMBINATIONS]
    return [random_conditions(rng, one, other) for one, other in pairs]


def random_conditions(rng: random.Random, one: Product, other: Product) -> list[Any]:
    low = one.price * rng.choice([Decimal("0.3"), Decimal("0.9")])
    options = [
        OneOf("category", (one.category_id,)),
        OneOf("commodity", (one.commodity_id,)),
        OneOf("state", (rng.choice([one, other]).state_id,)),
        OneOf("district", (rng.choice([one, other]).district_id,)),
        OneOf("farm", (one.farm_id,)),
        Priced(low.quantize(Decimal("0.01")), (low * rng.choice([2, 20])).quantize(Decimal("0.01"))),
        Flag("organic", rng.random() < 0.7),
        Flag("in_stock", rng.random() < 0.5),
        Prefix(rng.choice([word for word in rng.choice([one, other]).words.split() if len(word) > 2])),
    ]
    return rng.sample(options, rng.choice([2, 3]))


def single_sources(conditions: Sequence[Any], sort: Sort) -> list[Any]:
    """The planner's options that read one source in the order of the sort."""
    options = plans._options(conditions, sort.field, catalogue_statistics.current())
    return [option for option in options if len(option.sources) == 1 and option.sources[0].is_ordered]


def pages(conditions: Sequence[Any], sort: Sort) -> dict[str, Position | None]:
    """Where the first, middle and last page begin, by the source with the fewest products."""
    option = min(single_sources(conditions, sort), key=lambda option: option.sampled.bit_count())
    (source,) = option.sources
    where = Sql.all_of([source.where, *(c.sql() for c in conditions if c not in option.answers)])
    product = f" STRAIGHT_JOIN {PRODUCTS} p ON p.id = {source.key}" if source.table == POSTINGS else ""
    matches = f"FROM {source.table_by_index()}{product} WHERE {where.text}"
    ((count,),) = run(Sql(f"SELECT COUNT(*) {matches}", where.params))
    places: dict[str, Position | None] = {"first": None}
    for page, offset in (("middle", count // 2), ("last", count - LIMIT - 1)):
        if offset > 0:
            column = queries._column(source, sort)
            order = f"{queries._order_by(column, source.key, sort)} LIMIT 1 OFFSET {offset}"
            places[page] = Position(*run(Sql(f"SELECT {column}, {source.key} {matches} {order}", where.params))[0])
    return places


def best_raw(conditions: Sequence[Any], sort: Sort, after: Position | None) -> tuple[float, int]:
    """Milliseconds and rows read of the fastest statement that reads one ordered source to the page's end."""
    best = (float("inf"), 0)
    for option in single_sources(conditions, sort):
        checks = [c.sql() for c in conditions if c not in option.answers]
        source = option.sources[0]._replace(where=Sql.all_of([option.sources[0].where, *checks]))
        statement = queries._stream_statement(plans.Plan((source,), (), 0), sort, after, LIMIT + 1)
        try:
            limit_statements(MAX_RAW_SECONDS)
            times = [timed(lambda: run(statement)) for _ in range(3)]
        except OperationalError:
            continue
        finally:
            limit_statements(60)
        if min(times) < best[0]:
            best = statistics.median(times), rows_read(lambda: run(statement))
    return best


def measure(conditions: Sequence[Any], sort: Sort, after: Position | None, repeats: int) -> Cell:
    def page() -> object:
        return queries.find(conditions, sort, after, LIMIT + 1)

    page()  # warms up
    times = [timed(page) for _ in range(repeats)]
    return Cell(times, rows_read(page), *best_raw(conditions, sort, after))


def all_times(cells: Sequence[Cell]) -> list[float]:
    return [milliseconds for cell in cells for milliseconds in cell.times]


def raw_median(cells: Sequence[Cell]) -> str:
    raw = [cell.raw_time for cell in cells if cell.raw_time < float("inf")]
    return f"{statistics.median(raw):.2f}" if raw else f"over {MAX_RAW_SECONDS * 1000:.0f}"


def line(name: str, cell: Cell) -> tuple[str, ...]:
    return (
        name,
        f"{statistics.median(cell.times):.2f}",
        f"{percentile(cell.times, 0.95):.2f}",
        f"{cell.rows_read:,}",
        raw_median([cell]),
        f"{cell.raw_rows_read:,}",
    )


def summary(name: str, pages: Mapping[str, Sequence[Cell]]) -> tuple[str, ...]:
    """A line for all sorts: medians of each page, and percentiles and maxima of all pages."""
    cells = [cell for page in pages.values() for cell in page]
    return (
        name,
        *(f"{statistics.median(all_times(pages[page])):.2f}" if page in pages else DASH for page in PAGES),
        f"{percentile(all_times(cells), 0.95):.1f}",
        f"{max(cell.rows_read for cell in cells):,}",
        " / ".join(raw_median(page) for page in pages.values()),
        f"{max(cell.raw_rows_read for cell in cells):,}",
    )


def main(rows: int, combination_count: int = COMBINATIONS) -> None:
    if rows:  # 0: keep the catalogue as it is
        call_command("migrate", verbosity=0)
        call_command("seed_products", rows, "--reset")
    rng = random.Random(1)
    jobs = [(name, conditions, sort, REPEATS) for name, conditions in cases().items() for sort in SORTS]
    name = f"{combination_count} random combinations of two and three"
    for conditions in combinations(rng)[:combination_count]:
        jobs.append((name, conditions, rng.choice(SORTS), COMBINATION_REPEATS))
    cells: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    full = []
    for name, conditions, sort, repeats in tqdm(jobs, disable=None):
        for page, after in pages(conditions, Sort.parse(sort)).items():
            cell = measure(conditions, Sort.parse(sort), after, repeats)
            cells[name][page].append(cell)
            if repeats == REPEATS:
                full.append(line(f"{name}, {sort}, {page}", cell))
    print(table(HEAD, full))
    print(f"\nOver all six sorts, {rows:,} products:\n")
    lines = [summary(name, by_page) for name, by_page in cells.items()]
    print(table(SUMMARY, lines))
    save("listing", f"make bench-listing ROWS={rows}", SUMMARY, lines)
