"""Finds the answers and effects that break the promise of a row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dev.bench.figures import percentile
from dev.chaos.effects import miscounted
from dev.chaos.rows import Row
from dev.chaos.samples import LIMITED, LOST, NO_DATABASE, NORMAL, Kind, Sample
from dev.chaos.world import World

SHARE, MAX_SECONDS = 0.9, 0.5  # generous: a wait for a silent part takes a second or more
SEVERAL = 3


class Observed(NamedTuple):
    """The samples of one fault. It lasted from begun to ended; from noticed on, all workers knew of it.

    before: samples of requests that ended before the fault began. after: all later ones. harmed: callers whose worker
    the fault kills or freezes. workers: process ids before the fault.
    """

    begun: float
    noticed: float
    ended: float
    before: Sequence[Sample]
    after: Sequence[Sample]
    harmed: set[int]
    workers: list[int]

    @property
    def meanwhile(self) -> list[Sample]:
        return [sample for sample in self.after if sample.due < self.ended]

    def kept(self, row: Row, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that the fault must not touch."""
        return [sample for sample in samples if sample.kind not in row.allowed and sample.caller not in self.harmed]


def p95_ms(samples: Sequence[Sample]) -> float:
    """NaN without samples."""
    return _percentile(samples, 0.95) * 1000 if samples else math.nan


def _percentile(samples: Sequence[Sample], share: float) -> float:
    return percentile([sample.seconds for sample in samples], share)


def broken(row: Row, observed: Observed, world: World) -> list[str]:
    return [
        *_unexplained(row, observed, world),
        *_slow(row, observed),
        *_limits(row, observed),
        *_ended_workers(row, observed, world),
        *miscounted(world),
    ]


def _unexplained(row: Row, observed: Observed, world: World) -> Iterator[str]:
    found: Counter[str] = Counter()
    for sample in observed.after:
        allowed = NORMAL[sample.kind] | row.allowed.get(sample.kind, frozenset())
        found[f"{sample.kind}: {sample.answer}"] += sample.answer not in allowed and not _is_harmed(sample, world)
        found[f"{sample.kind}: no Retry-After"] += sample.answer.startswith("503") and not sample.has_retry_after
    yield from (f"{count} x {text}" for text, count in found.items() if count)


def _is_harmed(sample: Sample, world: World) -> bool:
    """Whether its worker, or its connection to MySQL, was killed while it waited."""
    is_killed = any(sample.due <= end and sample.ended >= begin for begin, end in world.kills)
    return (sample.answer == LOST and sample.port in world.victims) or (is_killed and sample.answer == NO_DATABASE)


def _slow(row: Row, observed: Observed) -> Iterator[str]:
    """Some requests still wait for the broken part after the service noticed the fault."""
    before = observed.kept(row, observed.before)
    meanwhile = observed.kept(row, [sample for sample in observed.meanwhile if sample.due >= observed.noticed])
    if row.is_momentary or not meanwhile:
        return
    added = _percentile(meanwhile, SHARE) - _percentile(before, SHARE)
    if added > MAX_SECONDS:
        slow = Counter(sample.kind.value for sample in meanwhile if sample.seconds > MAX_SECONDS)
        yield f"a tenth of {len(meanwhile)} requests waits for {added:.2f} s more: {dict(slow)}"


def _limits(row: Row, observed: Observed) -> Iterator[str]:
    """The client over its limit must be refused during the fault, unless the fault resets limits."""
    samples = [sample for sample in observed.after if sample.kind is Kind.LIMITED and sample.due >= observed.begun]
    meanwhile = [sample.answer for sample in samples if sample.due < observed.ended]
    is_admitted = any(sample.answer[:3] == "200" for sample in samples if sample.due >= observed.ended)
    if row.resets_limits and not is_admitted:
        yield "no rate limit has started over"
    if not row.resets_limits and len(meanwhile) >= SEVERAL and not {LIMITED, NO_DATABASE, LOST} & set(meanwhile):
        yield "the client over its limit is not refused"


def _ended_workers(row: Row, observed: Observed, world: World) -> Iterator[str]:
    if not row.ends_workers and world.server.workers != observed.workers:
        yield "a worker has ended"
