"""Every kind of listing, every sort, first, middle and last page: milliseconds and rows read.

What is timed is products.listing.queries.find(): the plan, the statement and its rows, without HTTP and JSON. Beside
it, the same page by a statement without a budget, by the fastest of all the ways that the planner knows.
Rows read are the server's own count (Handler_read%), without noise.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command
from django.db import OperationalError, connection
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RAW = True
LIMIT = 25
REPEATS = 11
RANDOM_COMBINATIONS = 200
SORTS = ("-created_at", "created_at", "-price", "price", "-name", "name")
TOO_LONG_SECONDS = 0.5


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) * 1000


def reads(work: Callable[[], Any]) -> int:
    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            return sum(int(value) for _, value in cursor.fetchall())

    before = count()
    asking = count() - before
    start = count()
    work()
    return count() - start - asking


def run(sql: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql.text, sql.params)
        return tuple(cursor.fetchall())


def limit(seconds: float) -> None:
    """Statements that take longer are ended by the server."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET @x = 1 /*M! , max_statement_time = {seconds} */"
            f" /*!80000 , max_execution_time = {int(seconds * 1000)} */"
        )


def cases() -> dict[str, list[Any]]:
    """name -> conditions; terms and values of the sizes asked for, as this catalogue has them."""
    from products.listing.conditions import Flag, OneOf, Prefix, Priced, Sql, Word  # noqa: PLC0415  # once Django is set up

    rows = run(Sql("SELECT term, COUNT(*) FROM products_posting GROUP BY term"))
    total = max(count for _, count in rows)
    terms = sorted((count, term) for term, count in rows)

    def of_size(size: float) -> Any:
        return min(terms, key=lambda entry: abs(entry[0] - size))[1]

    def largest(field: str) -> OneOf:
        sql = f"SELECT {field}_id FROM products_product GROUP BY {field}_id ORDER BY COUNT(*) DESC LIMIT 1"
        return OneOf(field, (run(Sql(sql))[0][0],))

    share = total / 1_000_000
    found: dict[str, list[Any]] = {"no filter": []}
    found |= {f"largest {field}": [largest(field)] for field in ("category", "commodity", "state", "district", "farm")}
    found["two categories"] = [
        OneOf("category", tuple(pk for (pk,) in run(Sql("SELECT id FROM products_category"))[:2]))
    ]
    found["organic"], found["out of stock"] = [Flag("organic", True)], [Flag("in_stock", False)]
    found["price 45 to 46"] = [Priced(Decimal(45), Decimal(46))]
    found["price from 100"] = [Priced(Decimal(100), None)]
    for size in (20, 5_000, 50_000, 300_000):
        term = of_size(size * (1 if size == 20 else share))
        found[f"word of {size:,}: {term}"] = [Prefix(term) if len(term) >= 3 else Word(term)]
    found["prefix: man"] = [Prefix("man")]
    found["two common words: organic tomato"] = [Word("organic"), Prefix("tomato")]
    found["never together: nadu assam"] = [Word("nadu"), Prefix("assam")]
    return found


def combinations(rng: random.Random) -> list[list[Any]]:
    from products.listing.conditions import Flag, OneOf, Prefix, Priced  # noqa: PLC0415
    from products.models import Product  # noqa: PLC0415

    ids = [rng.randrange(1, Product.objects.latest("pk").pk) for _ in range(3 * RANDOM_COMBINATIONS)]
    products = list(Product.objects.filter(pk__in=ids))
    rng.shuffle(products)
    found = []
    for number in range(RANDOM_COMBINATIONS):
        one, other = products[2 * number], products[2 * number + 1]
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
            Prefix(rng.choice([w for w in rng.choice([one, other]).words.split() if len(w) > 2])),
        ]
        found.append(rng.sample(options, rng.choice([2, 3])))
    return found


def places(conditions: Sequence[Any], sort: Any) -> dict[str, Any]:
    """Where the first, the middle and the last page begin: found by the source that leads to the fewest products."""
    from products.listing import plans, queries  # noqa: PLC0415  # once Django is set up
    from products.listing import statistics as known  # noqa: PLC0415
    from products.listing.conditions import POSTINGS, PRODUCTS, Sql  # noqa: PLC0415
    from products.listing.pagination import Place  # noqa: PLC0415

    options = [
        option
        for option in plans._options(conditions, sort.field, known.current())
        if len(option.sources) == 1 and option.sources[0].is_ordered
    ]
    option = min(options, key=lambda option: option.products.bit_count())
    (source,) = option.sources
    where = Sql.all_of([source.where, *(c.sql() for c in conditions if c not in option.answers)])
    product = f" STRAIGHT_JOIN {PRODUCTS} p ON p.id = {source.key}" if source.table == POSTINGS else ""
    matches = f"FROM {queries._table(source)}{product} WHERE {where.text}"
    ((count,),) = run(Sql(f"SELECT COUNT(*) {matches}", where.params))
    found: dict[str, Any] = {"first": None}
    for page, offset in (("middle", count // 2), ("last", count - LIMIT - 1)):
        if offset > 0:
            column = queries._column(source, sort)
            order = f"{queries._order(column, source.key, sort)} LIMIT 1 OFFSET {offset}"
            found[page] = Place(*run(Sql(f"SELECT {column}, {source.key} {matches} {order}", where.params))[0])
    return found


def best_raw(conditions: Sequence[Any], sort: Any, behind: Any) -> tuple[float, int]:
    """Milliseconds and rows read of the fastest statement that reads one ordered source to the page's end."""
    from products.listing import plans, queries  # noqa: PLC0415
    from products.listing import statistics as known  # noqa: PLC0415
    from products.listing.conditions import Sql  # noqa: PLC0415

    best = (float("inf"), 0)
    for option in plans._options(conditions, sort.field, known.current()):
        if len(option.sources) > 1 or not option.sources[0].is_ordered:
            continue
        checks = [c.sql() for c in conditions if c not in option.answers]
        source = option.sources[0]._replace(where=Sql.all_of([option.sources[0].where, *checks]))
        statement = queries._direct(plans.Plan((source,), (), 0), sort, behind, LIMIT + 1)
        try:
            limit(TOO_LONG_SECONDS)
            times = [timed(lambda: run(statement))[1] for _ in range(3)]
        except OperationalError:
            continue
        finally:
            limit(60)
        if min(times) < best[0]:
            best = statistics.median(times), reads(lambda: run(statement))
    return best


def measure(conditions: Sequence[Any], sort: Any, behind: Any, repeats: int) -> tuple[list[float], int, float, int]:
    from products.listing.queries import find  # noqa: PLC0415

    def page() -> Any:
        return find(conditions, sort, behind, LIMIT + 1)

    page()
    times = [timed(page)[1] for _ in range(repeats)]
    return times, reads(page), *(best_raw(conditions, sort, behind) if RAW else (0.0, 0))


def line(name: str, cells: Sequence[tuple[list[float], int, float, int]]) -> str:
    times = sorted(t for cell in cells for t in cell[0])
    raw = [cell[2] for cell in cells if cell[2] < float("inf")]
    numbers = [statistics.median(times), times[int(len(times) * 0.95)]]
    return (
        f"| {name} | {numbers[0]:.2f} | {numbers[1]:.2f} | {max(cell[1] for cell in cells):,}"
        f" | {f'{statistics.median(raw):.2f}' if raw else '> 500'} | {max(cell[3] for cell in cells):,} |"
    )


def main(rows: int, combination_count: int = RANDOM_COMBINATIONS) -> None:
    django.setup()
    from products.listing.pagination import Sort  # noqa: PLC0415

    if rows:
        call_command("migrate", verbosity=0)
        call_command("seed_products", rows, "--reset")
    rng = random.Random(1)
    by_page: dict[tuple[str, str], list[Any]] = defaultdict(list)
    full = []
    jobs = [(name, conditions, sort) for name, conditions in cases().items() for sort in SORTS]
    jobs += [
        ("random combinations", conditions, rng.choice(SORTS)) for conditions in combinations(rng)[:combination_count]
    ]
    for name, conditions, text in tqdm(jobs, disable=None):
        sort = Sort.parse(text)
        for page, behind in places(conditions, sort).items():
            repeats = 3 if name.startswith("random") else REPEATS
            cell = measure(conditions, sort, behind, repeats)
            by_page[name, page].append(cell)
            full.append(line(f"{name}, {text}, {page}", [cell]))
    head = "| listing | p50 ms | p95 ms | rows read | best raw SQL ms | rows read |\n|---|---|---|---|---|---|"
    print(f"{head}\n" + "\n".join(row for row in full if not row.startswith("| random")))
    print(f"\nOver all six sorts, {rows:,} products:\n\n{head}")
    for (name, page), cells in by_page.items():
        print(line(f"{name}, {page}", cells))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))  # 0: the catalogue that is there
