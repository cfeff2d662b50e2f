"""make bench-mixed: hot pages beside pages that were never requested before, both on a fixed schedule.

Stock DRF cannot stand the full load, so both servers also get a lower one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dev.bench import open_loop, wrk
from dev.bench.cached_pages import Pages, check, empty_redis, publish, render
from dev.bench.catalogue import seeded
from dev.bench.figures import percentile, progress, save, spread, table
from dev.bench.hot import PAGES, uniform
from dev.bench.open_loop import Sample, Schedule
from dev.bench.places import Targets, walk
from dev.bench.stacks import OURS, STOCK, Server, running
from dev.bench.turns import TURNS, in_turns, setting

SECONDS = setting("SECONDS", 8)
WARM_SECONDS = 2
COLD_STEP = 3  # products from page to page
HOT_CONNECTIONS, COLD_CONNECTIONS = 32, 16
COLUMNS = (
    *("server, hot + cold pages a second", "hot p50 ms", "hot p99 ms", "cold p50 ms", "cold p99 ms"),
    "answers other than 200",
)


class Case(NamedTuple):
    server: str
    hot: int  # pages a second
    cold: int

    def __str__(self) -> str:
        return f"{self.server}, {self.hot:,} + {self.cold}"


CASES = (Case(OURS, 1000, 50), Case(OURS, 200, 10), Case(STOCK, 200, 10))


class Load(NamedTuple):
    hot: list[Sample]
    cold: list[Sample]


async def load(server: Server, case: Case, hot: Sequence[str], cold: Sequence[str]) -> Load:
    drawn = random.Random(5).choices(hot, k=case.hot * SECONDS)
    schedules = (Schedule(drawn, case.hot, HOT_CONNECTIONS), Schedule(cold, case.cold, COLD_CONNECTIONS))
    hot_samples, cold_samples = await asyncio.gather(*(open_loop.run(server, each) for each in schedules))
    assert not any(sample.cache.startswith("hit") for sample in cold_samples), "a cold page was cached"
    return Load(hot_samples, cold_samples)


def measure(servers: dict[str, Server], pages: Pages, cold: Targets) -> dict[Case, list[Load]]:
    unused: dict[str, Iterator[str]] = {name: iter(targets) for name, targets in cold.items()}
    warm_targets = uniform(pages.targets)
    loads: dict[Case, list[Load]] = defaultdict(list)
    for turn, ordered in enumerate(in_turns(CASES), start=1):
        for case in ordered:
            server = servers[case.server]
            if case.server == OURS:
                render(server, pages.targets)
            wrk.load(server, warm_targets, WARM_SECONDS)
            targets = list(itertools.islice(unused[case.server], case.cold * SECONDS))
            loads[case].append(result := asyncio.run(load(server, case, pages.targets, targets)))
            progress(f"mixed, turn {turn} of {TURNS}, {case}: {', '.join(cells([result]))}")
    return loads


def cells(turns: Sequence[Load]) -> tuple[str, ...]:
    kinds = ([turn.hot for turn in turns], [turn.cold for turn in turns])
    failures = sum(sample.status != 200 for samples in itertools.chain(*kinds) for sample in samples)
    times = [[[sample.milliseconds for sample in samples] for samples in kind] for kind in kinds]
    return (
        *(spread([percentile(each, share) for each in kind], ",.1f") for kind in times for share in (0.5, 0.99)),
        f"{failures}",
    )


def main(rows: int) -> None:
    database = seeded(rows)
    empty_redis()
    with running(OURS, DATABASE_URL=database) as ours, running(STOCK, DATABASE_URL=database) as stock:
        cold = walk(ours, TURNS * SECONDS * sum(case.cold for case in CASES if case.server == OURS), COLD_STEP)
        empty_redis()
        pages = publish(ours, rows, PAGES)
        check(stock, pages)
        loads = measure({OURS: ours, STOCK: stock}, pages, cold)
    report = [(f"{case}", *cells(loads[case])) for case in CASES]
    print(f"\n{PAGES} hot pages beside cold ones, on {rows:,} products, for {SECONDS} s, {TURNS} turns\n")
    print(table(COLUMNS, report), flush=True)
    save("mixed", f"make bench-mixed ROWS={rows} TURNS={TURNS} SECONDS={SECONDS}", COLUMNS, report)
