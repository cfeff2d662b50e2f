"""make bench-outage: hot pages on a fixed schedule while Redis is frozen, slow, silent, or refuses connections.

Each server reaches Redis through a proxy of its own, and has the defaults of its Redis client.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from dev.bench import open_loop, wrk
from dev.bench.cached_pages import Pages, check, empty_redis, publish, render
from dev.bench.catalogue import seeded
from dev.bench.faults import Episode, FailingRedis, failing_redis
from dev.bench.figures import DASH, percentile, progress, save, spread, table
from dev.bench.hot import PAGES, uniform
from dev.bench.open_loop import GIVE_UP_SECONDS, Sample, Schedule
from dev.bench.stacks import FASTIFY, OURS, STOCK, Server, running
from dev.bench.turns import in_turns, setting

TURNS = setting("TURNS", 3)  # of more than a minute for each server
FAULT_SECONDS = setting("SECONDS", 10)
CALM_SECONDS = 5
RATE = 150
CONNECTIONS = 256
WARM_SECONDS = 2
NOTICE_SECONDS = 1  # of a fault, left out of its p95
FAILED = "failed"
COLUMNS = (
    *("Redis", "server", "p95 before, ms", "p95 meanwhile, ms", "added p95, ms"),
    *("answers other than 200", "seconds until pages come from Redis"),
)


class Outage(NamedTuple):
    before: float  # p95 in milliseconds, before the first fault
    meanwhile: float
    statuses: Counter[int]  # other than 200; 0: no answer in time
    answers: int
    back_seconds: float | None  # None: not before the next fault


async def load(server: Server, redis: FailingRedis, targets: Sequence[str]) -> tuple[list[Sample], list[Episode]]:
    count = int(RATE * redis.duration(FAULT_SECONDS, CALM_SECONDS))
    drawn = random.Random(6).choices(targets, k=count)
    return await asyncio.gather(
        open_loop.run(server, Schedule(drawn, RATE, CONNECTIONS)), redis.fail(FAULT_SECONDS, CALM_SECONDS)
    )


def outages(samples: Sequence[Sample], episodes: Sequence[Episode]) -> dict[str, Outage]:
    before = _p95([sample for sample in samples if sample.due < episodes[0].began_at])
    found = {}
    for episode in episodes:
        meanwhile = [s for s in samples if episode.began_at + NOTICE_SECONDS <= s.due < episode.ended_at]
        all_answers = [s for s in samples if episode.began_at <= s.due < episode.ended_at + CALM_SECONDS]
        statuses = Counter(sample.status for sample in all_answers if sample.status != 200)
        back = _back_seconds(all_answers, episode.ended_at)
        found[episode.fault] = Outage(before, _p95(meanwhile), statuses, len(all_answers), back)
    return found


def _p95(samples: Sequence[Sample]) -> float:
    """Infinite if more than a twentieth failed: an error that comes quickly is not a good answer."""
    return percentile([sample.milliseconds if sample.status == 200 else math.inf for sample in samples], 0.95)


def _milliseconds(cell: str) -> str:
    return FAILED if cell.startswith(f"{math.inf}") else cell


def _back_seconds(samples: Sequence[Sample], healed_at: float) -> float | None:
    """Until the first hit that was due after the fault. Fastify always says "hit", and stock DRF has no X-Cache."""
    hits = [s for s in samples if s.due >= healed_at and s.status == 200 and s.cache in {"hit", ""}]
    return min(s.due + s.milliseconds / 1000 for s in hits) - healed_at if hits else None


def cells(turns: Sequence[Outage]) -> tuple[str, ...]:
    statuses = sum((turn.statuses for turn in turns), Counter[int]())
    answers = sum(turn.answers for turn in turns)
    named = {status or f"none in {GIVE_UP_SECONDS} s": count for status, count in sorted(statuses.items())}
    back = [turn.back_seconds for turn in turns if turn.back_seconds is not None]
    return (
        spread([turn.before for turn in turns], ",.1f"),
        _milliseconds(spread([turn.meanwhile for turn in turns], ",.1f")),
        _milliseconds(f"{statistics.median(turn.meanwhile - turn.before for turn in turns):,.1f}"),
        ", ".join(f"{status}: {count / answers:.1%}" for status, count in named.items()) or "0",
        spread(back, ".1f") if len(back) == len(turns) else f"over {CALM_SECONDS}" if not back else DASH,
    )


def measure(servers: Sequence[Server], redis: FailingRedis, pages: Pages) -> dict[tuple[str, str], list[Outage]]:
    """By fault and server."""
    warm_targets = uniform(pages.targets)
    found: dict[tuple[str, str], list[Outage]] = defaultdict(list)
    for turn, ordered in enumerate(in_turns(servers, TURNS), start=1):
        for server in ordered:
            if server.name == OURS:
                render(server, pages.targets)
            wrk.load(server, warm_targets, WARM_SECONDS)
            for fault, outage in outages(*asyncio.run(load(server, redis, pages.targets))).items():
                found[fault, server.name].append(outage)
                progress(f"outage, turn {turn} of {TURNS}, {fault}, {server.name}: {' | '.join(cells([outage]))}")
    return found


def main(rows: int) -> None:
    database = seeded(rows)
    empty_redis()
    with ExitStack() as stack:
        redis = stack.enter_context(failing_redis())
        environment = {"DATABASE_URL": database, "REDIS_URL": redis.url}
        ours = stack.enter_context(running(OURS, **environment))
        pages = publish(ours, rows, PAGES)
        environment |= pages.environment
        peers = [stack.enter_context(running(name, **environment)) for name in (FASTIFY, STOCK)]
        for server in peers:
            check(server, pages)
        found = measure([ours, *peers], redis, pages)
        names = [fault.name for fault in redis.faults]
    pairs = itertools.product(names, (OURS, FASTIFY, STOCK))
    report = [(fault, name, *cells(found[fault, name])) for fault, name in pairs]
    print(f"\n{RATE} hot pages a second while Redis fails for {FAULT_SECONDS} s, {rows:,} products, {TURNS} turns\n")
    print(table(COLUMNS, report), flush=True)
    save("outage", f"make bench-outage ROWS={rows} TURNS={TURNS} SECONDS={FAULT_SECONDS}", COLUMNS, report)
