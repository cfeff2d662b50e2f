"""Statistics and Markdown tables of the reports."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Median (minimum - maximum)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} - {max(values):{form}})"


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
