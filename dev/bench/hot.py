"""make bench-hot: 200 cached pages behind a rate limiter, each as popular as the others, of five servers in turns."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from pathlib import Path

from dev.bench import wrk
from dev.bench.cached_pages import check, empty_redis, publish
from dev.bench.catalogue import seeded
from dev.bench.figures import save, table
from dev.bench.stacks import EXPRESS, FASTIFY, HELLO, OURS, STOCK, WORKERS, running
from dev.bench.turns import TURNS, setting

PAGES = 200
SECONDS = setting("SECONDS", 3)
MODES = os.environ.get("MODES", "off on").split()
DRAWS = 50_000
PEERS = (FASTIFY, EXPRESS, STOCK, HELLO)
COLUMNS = ("server", "logs and metrics", *wrk.COLUMNS)


def uniform(targets: list[str]) -> Path:
    return wrk.write_targets("hot", random.Random(4).choices(targets, k=DRAWS))


def compare(database: str, rows: int, logs: str) -> list[tuple[str, ...]]:
    """Print the table of one mode, and return its rows."""
    empty_redis()
    with ExitStack() as stack:
        servers = [stack.enter_context(running(OURS, logs, DATABASE_URL=database))]
        pages = publish(servers[0], rows, PAGES)
        for name in PEERS:
            servers.append(stack.enter_context(running(name, logs, DATABASE_URL=database, **pages.environment)))
        for server in servers[1:]:
            check(server, pages)
        loads = wrk.loads_in_turns("hot pages", servers, pages.targets, uniform(pages.targets), SECONDS)
    lengths = ", ".join(f"{name} {turns[-1].mean_bytes:,.0f}" for name, turns in loads.items())
    print(f"\n{PAGES} hot pages, logs and metrics {logs}, {WORKERS} processes each, wrk -t1 -c32 for {SECONDS} s,")
    print(f"{TURNS} turns; bytes of a response: {lengths}\n")
    rows_of_mode = [(name, logs, *wrk.cells(turns, loads[OURS])) for name, turns in loads.items()]
    print(table(COLUMNS, rows_of_mode), flush=True)
    return rows_of_mode


def main(rows: int) -> None:
    database = seeded(rows)
    report = [row for logs in MODES for row in compare(database, rows, logs)]
    report.sort(key=lambda row: (MODES.index(row[1]), [OURS, *PEERS].index(row[0])))
    save("hot", f"make bench-hot ROWS={rows} TURNS={TURNS} SECONDS={SECONDS}", COLUMNS, report)
