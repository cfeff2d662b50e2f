"""make bench-zipf: 2,000 cached queries with Zipf popularity (exponent 1), of three servers in turns."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from redis import Redis

from dev.bench import counters, wrk
from dev.bench.cached_pages import Pages, check, empty_redis, publish, render
from dev.bench.catalogue import seeded
from dev.bench.figures import save, spread, table
from dev.bench.stacks import FASTIFY, HELLO, OURS, Server, running
from dev.bench.turns import TURNS, setting
from dev.testing.mysql import connect

QUERIES = 2_000
DRAWS = 200_000
SECONDS = setting("SECONDS", 8)
WARM_SECONDS = 3
COLUMNS = ("server", *wrk.COLUMNS)
COST_COLUMNS = (f"{OURS}, per 1,000 requests", "")


def popular(targets: Sequence[str]) -> Path:
    """A list in which the first target is twice as frequent as the second, three times as frequent as the third…"""
    weights = [1 / rank for rank in range(1, len(targets) + 1)]
    return wrk.write_targets("zipf", random.Random(3).choices(targets, weights, k=DRAWS))


def costs(ours: Server, pages: Pages, database: str) -> list[tuple[str, str]]:
    """MySQL counts its statements, and Redis its commands and round trips, during one more turn of ours."""
    connection, targets = connect(database), popular(pages.targets)
    render(ours, pages.targets)
    wrk.load(ours, targets, WARM_SECONDS)
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        sql, commands = counters.statements(connection), counters.commands(redis)
        result = wrk.load(ours, targets, SECONDS)
        sql, commands = counters.statements(connection) - sql, counters.commands(redis) - commands
    thousands = result.rate * SECONDS / 1000
    return [
        ("SQL statements, without pings", f"{sql['Questions'] / thousands:.2f}"),
        ("Redis round trips", f"{commands[counters.READS] / thousands:,.0f}"),
        *((f"Redis `{name}`", f"{count / thousands:,.0f}") for name, count in _frequent(commands, thousands)),
    ]


def _frequent(commands: dict[str, int], thousands: float) -> list[tuple[str, int]]:
    """The commands with one call or more per 1,000 requests, also those inside scripts."""
    named = {name: count for name, count in commands.items() if name != counters.READS and count >= thousands}
    return sorted(named.items(), key=lambda item: -item[1])


def main(rows: int) -> None:
    database = seeded(rows)
    empty_redis()
    with ExitStack() as stack:
        ours = stack.enter_context(running(OURS, DATABASE_URL=database))
        pages = publish(ours, rows, QUERIES)
        peers = [stack.enter_context(running(name, **pages.environment)) for name in (FASTIFY, HELLO)]
        for server in peers:
            check(server, pages)
        loads = wrk.loads_in_turns("Zipf", [ours, *peers], pages.targets, popular(pages.targets), SECONDS, WARM_SECONDS)
        cost_rows = costs(ours, pages, database)
    report = [(server.name, *wrk.cells(loads[server.name], loads[OURS])) for server in (ours, *peers)]
    lengths = spread([len(answer.body) for answer in pages.answers.values()])
    print(f"\n{QUERIES:,} queries with Zipf popularity on {rows:,} products, bytes of a page {lengths},")
    print(f"wrk -t1 -c32 for {SECONDS} s, {TURNS} turns\n")
    print(f"{table(COLUMNS, report)}\n\n{table(COST_COLUMNS, cost_rows)}", flush=True)
    command = f"make bench-zipf ROWS={rows} TURNS={TURNS} SECONDS={SECONDS}"
    save("zipf", command, COLUMNS, report)
    save("zipf_costs", command, COST_COLUMNS, cost_rows)
