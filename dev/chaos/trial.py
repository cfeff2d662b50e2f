"""One row of the table: the load before, during and after the fault, and what the row promises of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from dev.bench.figures import percentile
from dev.chaos.effects import miscounted
from dev.chaos.faults.harm import Fault
from dev.chaos.load import Load
from dev.chaos.samples import LOST, NO_DATABASE, NORMAL, Kind, Sample
from dev.chaos.world import World
from dev.testing.waiting import wait_until

Answers: TypeAlias = Mapping[Kind, frozenset[str]]

NONE: Answers = MappingProxyType({})


class Row(NamedTuple):
    """One fault, and the promise.

    promise: in words. allowed: the answers that the fault explains, beside the normal ones; all other kinds of requests
    keep working. added_ms, heal_seconds: bounds. shows: an answer that proves that the service met the fault.
    is_momentary: it heals by itself, so the time to heal counts from its beginning.
    """

    name: str
    promise: str
    fault: Fault
    allowed: Answers = NONE
    added_ms: int = 50
    heal_seconds: float = 2
    shows: tuple[Kind, str] | None = None
    is_momentary: bool = False

    @property
    def id(self) -> str:
        return self.name.lower().replace(" ", "-").replace(",", "")


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
    world.victims.clear()
    world.kills.clear()
    pace, load = world.pace, world.load
    began = load.wait_for_calm(time.monotonic(), pace.calm, pace.heal)
    before = load.since(began)
    begun = time.monotonic()
    with row.fault(world):
        time.sleep(pace.fault)
        _wait_until_shown(row, load, begun)
        ended = time.monotonic()
    since = begun if row.is_momentary else ended
    healed = load.wait_for_calm(since, pace.settle, pace.heal)
    after = [sample for sample in load.since(began) if sample.ended >= begun]
    meanwhile = [sample for sample in after if sample.due < ended]
    harmed = {sample.caller for sample in before if sample.port in world.victims}
    return Result(
        _p95(row, before, harmed),
        _p95(row, meanwhile, harmed),
        healed - since,
        Counter(f"{sample.kind}: {sample.answer}" for sample in after if not sample.is_normal),
        [*_unexplained(row, after, world), *miscounted(world)],
    )


def _wait_until_shown(row: Row, load: Load, since: float) -> None:
    """Raise AssertionError if the service does not meet the fault."""
    if row.shows:
        wait_until(lambda: any((s.kind, s.answer) == row.shows for s in load.since(since)))


def _p95(row: Row, samples: Sequence[Sample], harmed: set[int]) -> float:
    """In milliseconds, of the requests that keep working, without callers of harmed workers. NaN if there are none."""
    kept = [s.seconds for s in samples if s.kind not in row.allowed and s.caller not in harmed]
    return percentile(kept, 0.95) * 1000 if kept else math.nan


def _unexplained(row: Row, samples: Sequence[Sample], world: World) -> list[str]:
    found = []
    for sample in samples:
        allowed = NORMAL[sample.kind] | row.allowed.get(sample.kind, frozenset())
        if sample.answer not in allowed and not _is_harmed(sample, world):
            found.append(f"{sample.kind}: {sample.answer}")
        if sample.answer.startswith("503") and not sample.has_retry_after:
            found.append(f"{sample.kind}: {sample.answer} without Retry-After")
    return [f"{count} x {text}" for text, count in Counter(found).items()]


def _is_harmed(sample: Sample, world: World) -> bool:
    """Whether its worker, or its connection to MySQL, was killed while it waited."""
    is_killed = any(sample.due <= end and sample.ended >= begin for begin, end in world.kills)
    return (sample.answer == LOST and sample.port in world.victims) or (is_killed and sample.answer == NO_DATABASE)
