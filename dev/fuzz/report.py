"""Counts of a fuzzing run, and its failures as JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dev.bench.figures import table
from dev.fuzz.cases import Case
from dev.fuzz.exchange import LARGE_BYTES, Outcome

FAILURES = Path(".local/fuzz-failures.jsonl")
MAX_KEPT = 100


class Report:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.failures = 0
        FAILURES.unlink(missing_ok=True)

    @property
    def requests(self) -> int:
        return self.counts.total()

    def add(self, case: Case, outcome: Outcome) -> None:
        for status in outcome.statuses:
            self.counts[case.source, status] += 1
        if any(_is_failure(case, status) for status in outcome.statuses):
            sent = [piece.decode("latin1") for piece in case.pieces]
            self.fail(
                case.source, {"statuses": outcome.statuses, "answer": outcome.head.decode("latin1"), "sent": sent}
            )

    def fail(self, source: str, members: dict[str, object]) -> None:
        """Bytes are written as latin1."""
        self.failures += 1
        if self.failures <= MAX_KEPT:
            with FAILURES.open("a") as lines:
                lines.write(json.dumps({"source": source, **members}) + "\n")

    def table(self) -> str:
        statuses = sorted({status for _, status in self.counts})
        head = ("source", "requests", *(f"{status}" if status else "none" for status in statuses))
        return table(head, list(self._rows(statuses)))

    def _rows(self, statuses: list[int]) -> Iterator[tuple[str, ...]]:
        for source in [*dict.fromkeys(source for source, _ in self.counts), "all"]:
            numbers = [
                sum(count for (name, got), count in self.counts.items() if got == status and source in {name, "all"})
                for status in statuses
            ]
            yield (source, f"{sum(numbers):,}", *(f"{number:,}" if number else "" for number in numbers))


def _is_failure(case: Case, status: int) -> bool:
    if status == 0:
        return not case.is_raw and sum(map(len, case.pieces)) < LARGE_BYTES
    return status >= 500 and status not in case.allowed
