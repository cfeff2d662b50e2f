"""dev/bench/run.sh sizes 1000000: the size of each index of products and postings, and the cost of writing one product.

Sizes are the server's own: pages of each index in mysql.innodb_index_stats. A copy of the product table without its
secondary indexes shows the cost that they add to an INSERT.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection

from dev.bench.figures import save, table
from dev.testing.mysql import as_root, query
from products.listing.sources import POSTINGS, PRODUCTS
from products.seeding.replacement import secondary_keys

COMMAND = "dev/bench/run.sh sizes 1000000"
SERVER = Path(".local/bench/mariadb").resolve()
PAGE_BYTES = 16 * 1024
BARE = "bench_bare_product"
TURNS = 300


def run(sql: str, *params: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return tuple(cursor.fetchall())


def pages() -> list[tuple[str, str, int]]:
    """(table, index, pages), the largest first. The service's user may not read these statistics."""
    sql = (
        "SELECT table_name, index_name, stat_value FROM mysql.innodb_index_stats WHERE database_name = 'farmlokal'"
        " AND table_name IN ('products_product', 'products_posting') AND stat_name = 'size' ORDER BY stat_value DESC"
    )
    with as_root(SERVER) as root:
        return [(table, index, pages) for table, index, pages in query(root, sql)]


def size_rows(rows: int) -> list[tuple[str, ...]]:
    sizes = [(f"{name.removeprefix('products_')} {index}", count * PAGE_BYTES) for name, index, count in pages()]
    sizes.append(("all", sum(size for _, size in sizes)))
    return [(name, f"{size / 2**20:,.0f}", f"{size / rows:,.0f}") for name, size in sizes]


def make_bare_copy() -> None:
    ((_, definition),) = run("SHOW CREATE TABLE products_product")
    run(f"DROP TABLE IF EXISTS {BARE}")
    run(f"CREATE TABLE {BARE} LIKE products_product")
    run(f"ALTER TABLE {BARE} {', '.join(f'DROP KEY {name}' for name in secondary_keys(definition))}")
    run(f"INSERT INTO {BARE} SELECT * FROM products_product")


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def write_rows(rows: int) -> list[tuple[str, ...]]:
    """Median milliseconds of each statement, each in a transaction of its own, for copies of random products."""
    columns = [name for (name, *_) in run("SHOW COLUMNS FROM products_product") if name != "id"]
    copied = f"({', '.join(columns)}) SELECT {', '.join(columns)} FROM {PRODUCTS} WHERE id = %s"
    words = f"SELECT term, created_at, %s, price, name FROM {POSTINGS} WHERE created_at = %s AND term IN "
    times: dict[str, list[float]] = defaultdict(list)
    for pk in random.Random(1).sample(range(1, rows + 1), TURNS):
        ((terms, created_at),) = run(f"SELECT words, created_at FROM {PRODUCTS} WHERE id = %s", pk)
        listed = tuple(terms.split())
        chosen = f"{words} ({', '.join(['%s'] * len(listed))}) AND product_id = %s"
        new = rows * 2 + pk
        times["INSERT a product, primary key only"].append(timed(lambda: run(f"INSERT INTO {BARE} {copied}", pk)))
        times["INSERT a product, all indexes"].append(timed(lambda: run(f"INSERT INTO {PRODUCTS} {copied}", pk)))
        times["INSERT its postings"].append(
            timed(lambda: run(f"INSERT INTO {POSTINGS} {chosen}", new, created_at, *listed, pk))
        )
        times["UPDATE the price of a product"].append(
            timed(lambda: run(f"UPDATE {PRODUCTS} SET price = price + 1 WHERE id = %s", pk))
        )
        where = f"created_at = %s AND product_id = %s AND term IN ({', '.join(['%s'] * len(listed))})"
        times["UPDATE the price of its postings"].append(
            timed(lambda: run(f"UPDATE {POSTINGS} SET price = price + 1 WHERE {where}", created_at, pk, *listed))
        )
    return [(name, f"{statistics.median(each):.2f}", f"{max(each):.1f}") for name, each in times.items()]


def main(rows: int) -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_products", rows, "--reset")
    ((entries,),) = run(f"SELECT COUNT(*) FROM {POSTINGS}")
    sizes = size_rows(rows)
    columns = ("index", "MiB", "bytes a product")
    print(f"\n{rows:,} products, {entries:,} postings:\n\n{table(columns, sizes)}\n", flush=True)
    save("sizes", COMMAND, columns, sizes)
    make_bare_copy()
    writes = write_rows(rows)
    head = ("statement", "median ms", "maximum ms")
    print(table(head, writes))
    save("writes", COMMAND, head, writes)
    run(f"DROP TABLE {BARE}")
