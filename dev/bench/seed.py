"""make bench-seed: seed_products beside its lower bound, in turns.

The lower bound is LOAD DATA of the same rows from a ready file into a table with only its primary key, and one ALTER
TABLE for the other keys. seed_products also generates the rows, loads the farms and swaps the tables.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from django.core.management import call_command

from dev.bench.figures import save, spread, table
from products.seeding import bulk_loader, generator, replacement

TURNS = 3
SCRATCH = "bench_product"


def run_sql(sql: str) -> float:
    """Seconds that the mariadb client takes for these statements."""
    url = urlsplit(os.environ["DATABASE_URL"])
    command = ["mariadb", "--no-defaults", "--protocol=tcp", "--local-infile=1", f"-h{url.hostname}", f"-P{url.port}"]
    environment = os.environ | {"MYSQL_PWD": url.password or ""}
    start = time.monotonic()
    subprocess.run([*command, f"-u{url.username}", url.path[1:], "-e", sql], env=environment, check=True)
    return time.monotonic() - start


def write_rows(path: Path, rows: int) -> None:
    farms = generator.farm_rows(1, -(-rows // generator.PRODUCTS_PER_FARM))
    with path.open("w") as file:
        for row in generator.product_rows(1, rows, farms):
            file.write("\t".join(row) + "\n")


def load_and_add_keys(path: Path, keys: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of LOAD DATA and of ALTER TABLE."""
    run_sql(f"DROP TABLE IF EXISTS {SCRATCH}; CREATE TABLE {SCRATCH} LIKE products_product")
    run_sql(f"ALTER TABLE {SCRATCH} {', '.join(f'DROP KEY {name}' for name in keys)}")
    load = run_sql(
        f"SET unique_checks=0, foreign_key_checks=0; LOAD DATA LOCAL INFILE '{path}' INTO TABLE {SCRATCH}"
        f" CHARACTER SET utf8mb4 FIELDS ESCAPED BY '' ({', '.join(generator.PRODUCT_COLUMNS)})"
    )
    alter = run_sql(f"ALTER TABLE {SCRATCH} {', '.join(f'ADD {key}' for key in keys.values())}")
    run_sql(f"DROP TABLE {SCRATCH}")
    return load, alter


def main(rows: int) -> None:
    call_command("migrate", verbosity=0)
    with bulk_loader.connect() as raw:
        ((_, definition),) = bulk_loader.execute(raw, "SHOW CREATE TABLE products_product")
    keys = replacement.secondary_keys(definition)
    bounds, times = [], []
    with tempfile.TemporaryDirectory(dir=".local/bench") as folder:
        path = Path(folder, "rows.tsv").resolve()
        write_rows(path, rows)
        for turn in range(1, TURNS + 1):
            load, alter = load_and_add_keys(path, keys)
            start = time.monotonic()
            subprocess.run([sys.executable, "manage.py", "seed_products", str(rows), "--reset"], check=True)
            bounds.append(load + alter)
            times.append(time.monotonic() - start)
            print(f"{turn}: bound {bounds[-1]:.1f} s ({load:.1f} + {alter:.1f}), seed_products {times[-1]:.1f} s")
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    columns = (f"{rows:,} products", f"median of {TURNS} turns")
    report = [
        ("lower bound, seconds", spread(bounds, ".1f")),
        ("`seed_products`, seconds", spread(times, ".1f")),
        ("ratio, turn by turn", spread([ours / bound for ours, bound in zip(times, bounds, strict=True)], ".2f")),
        ("memory, at most, MB", f"{megabytes:.0f}"),
    ]
    print(table(columns, report))
    save("seed", f"make bench-seed ROWS={rows}", columns, report)
