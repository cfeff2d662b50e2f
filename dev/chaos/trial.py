"""One row of the table: the load before, during and after the fault."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from dev.chaos.load import Load
from dev.chaos.rows import Row
from dev.chaos.verdict import Observed, broken, p95_ms
from dev.chaos.world import World
from dev.testing.waiting import wait_until

NOTICE_SECONDS = 1.5  # from the first process of the service that knows of a fault to the last one


class Result(NamedTuple):
    """before_ms, meanwhile_ms: p95 of the requests that keep working. broken: what breaks the promise."""

    before_ms: float
    meanwhile_ms: float
    heal_seconds: float
    answers: Counter[str]  # other than normal, by kind and text
    broken: list[str]

    @property
    def added_ms(self) -> float:
        return self.meanwhile_ms - self.before_ms


def run(world: World, row: Row) -> Result:
    """Raise AssertionError if the load never gets normal answers again, or the service does not meet the fault."""
    world.victims.clear()
    world.kills.clear()
    pace, load = world.pace, world.load
    began = load.wait_for_calm(time.monotonic(), pace.calm, pace.heal)
    before, workers = load.since(began), world.server.workers
    begun = time.monotonic()
    with row.fault(world):
        _wait_until_shown(row, load, begun)
        time.sleep(NOTICE_SECONDS)
        noticed = time.monotonic()
        time.sleep(pace.fault - NOTICE_SECONDS)
        ended = time.monotonic()
    since = begun if row.is_momentary else ended
    healed = load.wait_for_calm(since, pace.settle, pace.heal)
    harmed = {sample.caller for sample in before if sample.port in world.victims}
    after = [sample for sample in load.since(began) if sample.ended >= begun]
    observed = Observed(begun, noticed, ended, before, after, harmed, workers)
    return Result(
        p95_ms(observed.kept(row, before)),
        p95_ms(observed.kept(row, observed.meanwhile)),
        healed - since,
        Counter(f"{sample.kind}: {sample.answer}" for sample in after if not sample.is_normal),
        broken(row, observed, world),
    )


def _wait_until_shown(row: Row, load: Load, since: float) -> None:
    if row.shows:
        wait_until(lambda: any((sample.kind, sample.answer) == row.shows for sample in load.since(since)))
