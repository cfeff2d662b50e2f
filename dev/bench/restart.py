"""make bench-restart: the Zipf load right after all processes of a server were restarted. Redis keeps its pages.

The rate of each second is compared with the steady rate that the processes before them had in the same turn.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dev.bench import wrk
from dev.bench.cached_pages import Pages, empty_redis, publish, render
from dev.bench.catalogue import seeded
from dev.bench.figures import progress, save, spread, table
from dev.bench.stacks import FASTIFY, OURS, running
from dev.bench.turns import TURNS, in_turns, setting
from dev.bench.zipf import QUERIES, WARM_SECONDS, popular

SHOWN = 5
SECONDS = max(setting("SECONDS", 10), SHOWN)  # after the restart
STEADY_SECONDS = 4
RECOVERED = 0.9
COLUMNS = (
    *("server", "steady requests a second", "seconds to start"),
    *(f"second {number}, %" for number in range(1, SHOWN + 1)),
    *(f"seconds to {RECOVERED:.0%}", "errors"),
)


class Restart(NamedTuple):
    steady: float  # requests a second
    start_seconds: float  # until all workers listen
    shares: list[float]  # of the steady rate, by second
    errors: int

    @property
    def recovery_seconds(self) -> int:
        """The first second with the steady rate; one more than was measured if none had it."""
        good = [second for second, share in enumerate(self.shares, start=1) if share >= RECOVERED]
        return good[0] if good else len(self.shares) + 1


def restart(name: str, database: str, pages: Pages, targets: Path) -> Restart:
    environment = {**pages.environment, "DATABASE_URL": database}
    with running(name, **environment) as server:
        if name == OURS:
            render(server, pages.targets)
        steady = wrk.steady_load(server, targets, STEADY_SECONDS, WARM_SECONDS)
    stopped_at = time.monotonic()
    with running(name, **environment) as server:
        start_seconds = time.monotonic() - stopped_at
        after = wrk.load(server, targets, SECONDS)
    counts = [*after.windows, *[0] * SECONDS][:SECONDS]  # wrk sees no seconds without requests at the end
    shares = [count / steady.rate for count in counts]
    return Restart(steady.rate, start_seconds, shares, after.errors)


def cells(turns: Sequence[Restart]) -> tuple[str, ...]:
    recoveries = [turn.recovery_seconds for turn in turns]
    return (
        spread([turn.steady for turn in turns]),
        spread([turn.start_seconds for turn in turns], ".1f"),
        *(spread([turn.shares[number] * 100 for turn in turns], ".0f") for number in range(SHOWN)),
        f"over {SECONDS}" if statistics.median(recoveries) > SECONDS else spread(recoveries, ".0f"),
        f"{sum(turn.errors for turn in turns)}",
    )


def main(rows: int) -> None:
    database = seeded(rows)
    empty_redis()
    with running(OURS, DATABASE_URL=database) as ours:
        pages = publish(ours, rows, QUERIES)
    targets = popular(pages.targets)
    restarts: dict[str, list[Restart]] = defaultdict(list)
    for turn, ordered in enumerate(in_turns((OURS, FASTIFY)), start=1):
        for name in ordered:
            restarts[name].append(result := restart(name, database, pages, targets))
            shares = ", ".join(f"{share:.0%}" for share in result.shares)
            progress(f"restart, turn {turn} of {TURNS}, {name}, {result.steady:,.0f} a second, by second: {shares}")
    report = [(name, *cells(restarts[name])) for name in (OURS, FASTIFY)]
    print(f"\nAfter a restart: {QUERIES:,} queries with Zipf popularity on {rows:,} products, {TURNS} turns\n")
    print(table(COLUMNS, report), flush=True)
    save("restart", f"make bench-restart ROWS={rows} TURNS={TURNS} SECONDS={SECONDS}", COLUMNS, report)
