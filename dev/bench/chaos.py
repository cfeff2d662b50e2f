"""make chaos: each fault of the table, for 12 s, and whether the service keeps its promise.

FAULTS selects faults by the ids of their tests. Exits with 1 if a promise is broken.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from pathlib import Path

from dev.bench.figures import progress, save, table
from dev.chaos.rows import Row
from dev.chaos.table import ROWS
from dev.chaos.trial import Result, run
from dev.chaos.world import FULL, World

FAULTS = os.environ.get("FAULTS", "").split()
COLUMNS = ("fault", "p95 before, ms", "p95 meanwhile, ms", "added p95, ms", "time to heal, s")
DETAILS = ("answers other than usual",)


def figures(row: Row, result: Result) -> tuple[str, ...]:
    p95 = (result.before_ms, result.meanwhile_ms, max(result.added_ms, 0))
    milliseconds = ["" if math.isnan(result.added_ms) else f"{one:.0f}" for one in p95]
    return (row.id, *milliseconds, f"{result.heal_seconds:.1f}")


def broken(row: Row, result: Result) -> list[str]:
    found = list(result.broken)
    if result.added_ms > row.added_ms:
        found.append(f"added p95 {result.added_ms:.0f} ms, promised {row.added_ms}")
    if result.heal_seconds > row.heal_seconds:
        found.append(f"healed after {result.heal_seconds:.1f} s, promised {row.heal_seconds:g}")
    return found


def main() -> None:
    chosen = [row for row in ROWS if not FAULTS or row.id in FAULTS]
    results: list[tuple[Row, Result]] = []
    with tempfile.TemporaryDirectory() as folder, World(Path(folder), FULL, os.environ) as world:
        for number, row in enumerate(chosen, 1):
            result = run(world, row)
            results.append((row, result))
            text = " | ".join(figures(row, result)[1:])
            progress(
                f"chaos, {number} of {len(chosen)}, {row.name}: {text}; {'; '.join(broken(row, result)) or 'kept'}"
            )
    report = [figures(row, result) for row, result in results]
    answers = [", ".join(f"{n} x {text}" for text, n in result.answers.most_common()) for _, result in results]
    print(table((*COLUMNS, *DETAILS), [(*line, text) for line, text in zip(report, answers, strict=True)]), flush=True)
    if not FAULTS:
        save("reliability", "make chaos", COLUMNS, report)
    failures = [f"{row.name}: {text}" for row, result in results for text in broken(row, result)]
    sys.exit("\n".join(failures) or 0)
