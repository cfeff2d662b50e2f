"""make bench-cold: pages that are in no cache, of ours and of stock DRF, at the same places of the catalogue.

In each turn Redis is emptied, then each page is requested once. /proc counts the CPU time of the servers.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from django.db import connection

from dev.bench.cached_pages import empty_redis
from dev.bench.catalogue import seeded
from dev.bench.client import Connection
from dev.bench.counters import cpu_seconds, mariadb_pid
from dev.bench.figures import percentile, progress, ratios, save, spread, table
from dev.bench.places import Targets, check, middle_cursor, walk
from dev.bench.stacks import OURS, STOCK, Server, running
from dev.bench.turns import TURNS, in_turns

PAGES = 400
CONNECTIONS = 16
MAX_TURN_SECONDS = 10  # a slow server serves fewer pages
COLUMNS = (
    *("server, pages", "pages a second", "p50 ms", "p99 ms"),
    *("server's CPU ms a page", "MariaDB's CPU ms a page", f"{OURS} / server"),
)


class Load(NamedTuple):
    rate: float  # pages a second
    times: list[float]  # milliseconds
    server_cpu: float  # milliseconds a page, of all its processes
    mariadb_cpu: float


async def request_all(server: Server, targets: list[str]) -> list[float]:
    """Return the milliseconds of each answer."""
    remaining, times = iter(targets), []
    start = time.perf_counter()

    async def call() -> None:
        connection = Connection(server.port)
        for target in remaining:
            sent_at = time.perf_counter()
            answer = await connection.get(target)
            assert answer.status == 200, (server, target, answer)
            assert not answer.headers.get("x-cache", "").startswith("hit"), (server, target)
            times.append((time.perf_counter() - sent_at) * 1000)
            if time.perf_counter() - start > MAX_TURN_SECONDS:
                break
        connection.close()

    await asyncio.gather(*(call() for _ in range(CONNECTIONS)))
    return times


def load(server: Server, targets: list[str]) -> Load:
    empty_redis()
    pids = (server.pid, mariadb_pid())
    start, before = time.perf_counter(), [cpu_seconds(pid) for pid in pids]
    times = asyncio.run(request_all(server, targets))
    seconds, after = time.perf_counter() - start, [cpu_seconds(pid) for pid in pids]
    of_server, of_mariadb = ((b - a) * 1000 / len(times) for a, b in zip(before, after, strict=True))
    return Load(len(times) / seconds, times, of_server, of_mariadb)


def measure(servers: list[Server], targets: Targets, place: str) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = defaultdict(list)
    for turn, ordered in enumerate(in_turns(servers, TURNS + 1)):  # the first one warms up
        for server in ordered:
            loads[server.name].append(load(server, targets[server.name]))
        rates = ", ".join(f"{server.name} {loads[server.name][-1].rate:,.0f}" for server in servers)
        progress(f"cold pages, {place}, turn {turn} of {TURNS}, pages a second: {rates}")
    return {server.name: loads[server.name][1:] for server in servers}


def cells(turns: Sequence[Load], ours: Sequence[Load]) -> tuple[str, ...]:
    rates = [turn.rate for turn in turns]
    return (
        spread(rates),
        spread([percentile(turn.times, 0.5) for turn in turns], ",.1f"),
        spread([percentile(turn.times, 0.99) for turn in turns], ",.1f"),
        spread([turn.server_cpu for turn in turns], ",.1f"),
        spread([turn.mariadb_cpu for turn in turns], ",.1f"),
        ratios([turn.rate for turn in ours], rates),
    )


def main(rows: int) -> None:
    database = seeded(rows)
    connection.close()  # an earlier load of `make bench` has opened it
    connection.settings_dict["NAME"] = urlsplit(database).path[1:]
    report: list[tuple[str, ...]] = []
    with running(OURS, DATABASE_URL=database) as ours, running(STOCK, DATABASE_URL=database) as stock:
        places = (("newest 400", "", 1), ("newest 10,000", "", 25), ("middle", middle_cursor(rows), 25))
        for place, cursor, step in places:
            targets = walk(ours, PAGES, step, cursor)
            check([ours, stock], targets)
            loads = measure([ours, stock], targets, place)
            report += [(f"{name}, {place}", *cells(turns, loads[OURS])) for name, turns in loads.items()]
    print(f"\nCold pages: {PAGES} out of {rows:,} products, each once, {CONNECTIONS} connections, {TURNS} turns\n")
    print(table(COLUMNS, report), flush=True)
    save("cold", f"make bench-cold ROWS={rows} TURNS={TURNS}", COLUMNS, report)
