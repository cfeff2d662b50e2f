"""The fault table: promises from dev/chaos/table.py, and the figures of the last `make chaos`."""

from __future__ import annotations

from dev.bench.figures import DASH, read, table
from dev.chaos.table import ROWS
from dev.docs import charts

TESTS = "../farmlokal/tests/test_faults.py"
COLUMNS = (
    "Fault",
    "What keeps working",
    "Added p95, ms: promised (measured)",
    "Seconds to heal: promised (measured)",
    "Test",
)


def faults_table() -> str:
    """Promised bounds, with the measured figures in brackets; a dash if there are none yet."""
    figures = read("reliability")
    measured = {name: cells for name, *cells in figures["rows"]}
    added, heal = (figures["columns"].index(name) - 1 for name in ("added p95, ms", "time to heal, s"))
    lines = []
    for row in ROWS:
        cells = measured.get(row.id, [DASH] * (len(figures["columns"]) - 1))
        p95 = f"{row.added_ms} ({cells[added]})" if cells[added] else DASH
        lines.append((row.name, row.promise, p95, f"{row.heal_seconds:g} ({cells[heal]})", f"[{row.id}]({TESTS})"))
    return f"{table(COLUMNS, lines)}\n\nMeasured by `{charts.source(figures)}`."
