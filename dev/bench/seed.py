"""seed_products against its floor, measured in turns in one run.

The floor is what nobody can undercut with this server: LOAD DATA of the very same rows from a file
that is there already, by the mariadb client, into a table with its primary key only, and one ALTER
TABLE for the same keys. seed_products makes its rows meanwhile, loads farms and swaps tables.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.core.management import call_command

REPEATS = 3
SCRATCH = "bench_product"


def client(sql: str) -> float:
    """Seconds that the mariadb client takes for these statements."""
    url = urlsplit(os.environ["DATABASE_URL"])
    command = ["mariadb", "--no-defaults", "--protocol=tcp", "--local-infile=1", f"-h{url.hostname}", f"-P{url.port}"]
    environment = os.environ | {"MYSQL_PWD": url.password or ""}
    start = time.monotonic()
    subprocess.run([*command, f"-u{url.username}", url.path[1:], "-e", sql], env=environment, check=True)
    return time.monotonic() - start


def main(rows: int) -> None:
    django.setup()
    from products.seeding import bulk_loader, generator  # noqa: PLC0415  # once Django is set up

    call_command("migrate", verbosity=0)
    farms = generator.farm_rows(1, -(-rows // generator.PRODUCTS_PER_FARM))
    with tempfile.TemporaryDirectory(dir=".local/bench") as folder:
        path = Path(folder, "rows.tsv").resolve()
        with path.open("w") as file:
            for row in generator.product_rows(1, rows, farms):
                file.write("\t".join(row) + "\n")
        with bulk_loader.bulk_connection() as raw:
            ((_, definition),) = bulk_loader.execute(raw, "SHOW CREATE TABLE products_product")
        keys = bulk_loader.secondary_keys(definition)
        floors, ours = [], []
        for number in range(1, REPEATS + 1):
            client(f"DROP TABLE IF EXISTS {SCRATCH}; CREATE TABLE {SCRATCH} LIKE products_product")
            client(f"ALTER TABLE {SCRATCH} {', '.join(f'DROP KEY {name}' for name in keys)}")
            load = client(
                f"SET unique_checks=0, foreign_key_checks=0; LOAD DATA LOCAL INFILE '{path}' INTO TABLE {SCRATCH}"
                f" CHARACTER SET utf8mb4 FIELDS ESCAPED BY '' ({', '.join(generator.PRODUCT_COLUMNS)})"
            )
            alter = client(f"ALTER TABLE {SCRATCH} {', '.join(f'ADD {key}' for key in keys.values())}")
            client(f"DROP TABLE {SCRATCH}")
            floors.append(load + alter)
            start = time.monotonic()
            subprocess.run([sys.executable, "manage.py", "seed_products", str(rows), "--reset"], check=True)
            ours.append(time.monotonic() - start)
            print(f"{number}: floor {floors[-1]:.1f} s ({load:.1f} + {alter:.1f}), seed_products {ours[-1]:.1f} s")
    ratios = [mine / floor for mine, floor in zip(ours, floors, strict=True)]
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{rows:,} rows: seed_products takes {statistics.median(ratios):.2f} times the floor"
        f" ({min(ratios):.2f} to {max(ratios):.2f} over {REPEATS} turns), at most {memory:.0f} MB of memory"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
