"""Statistics and Markdown tables of the reports, and their figures as JSON for the documentation."""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import connection

FOLDER = Path("docs/figures")
DASH = "\N{EN DASH}"


def save(name: str, command: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """With FIGURES=1, write a table of the report to docs/figures/NAME.json."""
    if os.environ.get("FIGURES") == "1":
        today = dt.datetime.now(dt.UTC).date()
        about = {"command": command, "date": f"{today:%Y-%m}", "measured_at": f"{today}", "machine": machine()}
        (FOLDER / f"{name}.json").write_text(as_json(about, columns, rows))


def read(name: str) -> dict[str, Any]:
    """What save() has written: command, date, measured_at, machine, columns and rows."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return document


def machine() -> str:
    """The load, the servers and the database share the machine's cores."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        ((version,),) = cursor.fetchall()
    server = "MariaDB" if "MariaDB" in version else "MySQL"
    return f"{os.cpu_count()} shared cores, {server} {'.'.join(version.split('.')[:2])}"


def as_json(about: Mapping[str, str], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """With one line for each row."""
    parts = {**about, "columns": columns}
    head = "".join(f'  "{name}": {json.dumps(value, ensure_ascii=False)},\n' for name, value in parts.items())
    lines = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return f'{{\n{head}  "rows": [\n{lines}\n  ]\n}}\n'


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} {DASH} {max(values):{form}})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Spread of the ratios of each turn: what slows a whole turn cancels out."""
    return spread([mine / max(other, 1) for mine, other in zip(ours, theirs, strict=True)], ".2f")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def progress(text: str) -> None:
    """Print to standard error, which is not part of the report."""
    print(text, file=sys.stderr, flush=True)
