"""make bench-galera: seed_products at one node of a Galera cluster, beside a writer at another.

The writer commits each 50 ms. Its longest wait is what the load costs others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.bench.figures import percentile, save, table
from dev.testing import mysql
from dev.testing.galera import galera
from dev.testing.repeating import repeating
from dev.testing.servers import Daemon

PAUSE_SECONDS = 0.05


def manage(node: Daemon, *arguments: str) -> float:
    """The seconds that the command took."""
    started = time.monotonic()
    environment = os.environ | {"DATABASE_URL": node.url}
    subprocess.run([sys.executable, "manage.py", *arguments], env=environment, check=True)
    return time.monotonic() - started


@contextmanager
def writing(node: Daemon) -> Iterator[list[float]]:
    """Yields the seconds of each commit so far."""
    waits: list[float] = []
    connection = mysql.connect(node.url)
    mysql.query(connection, "CREATE TABLE bench_writer (id INT PRIMARY KEY, number INT)")
    mysql.query(connection, "INSERT INTO bench_writer VALUES (1, 0)")

    def write() -> None:
        started = time.monotonic()
        mysql.query(connection, "UPDATE bench_writer SET number = number + 1 WHERE id = 1")
        waits.append(time.monotonic() - started)

    with repeating(write, PAUSE_SECONDS):
        yield waits


def main(rows: int) -> None:
    options = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=256M")
    with (
        tempfile.TemporaryDirectory(dir=".local/bench") as folder,
        galera(Path(folder).resolve(), 3, *options) as cluster,
    ):
        _, other, node = cluster.nodes
        manage(node, "migrate", "-v0")
        with writing(other) as waits:
            seconds = manage(node, "seed_products", str(rows), "--reset")
            time.sleep(2)  # for what the load has left in the queue of the other node
    columns = (f"{rows:,} products, 3 nodes", "")
    report = [
        ("seconds of the load", f"{seconds:.0f}"),
        ("commits of the writer at another node", f"{len(waits):,}"),
        ("longest wait of a commit, s", f"{max(waits):.2f}"),
        ("99 of 100 commits, at most, s", f"{percentile(waits, 0.99):.2f}"),
    ]
    print(table(columns, report))
    save("galera", f"make bench-galera ROWS={rows}", columns, report)
