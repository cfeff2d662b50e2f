"""How figures are put together and printed."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, and from where to where."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} - {max(values):{form}})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of each turn its own, so that what slows a whole turn does not count."""
    return spread([mine / max(other, 1) for mine, other in zip(ours, theirs, strict=True)], ".2f")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tell(text: str) -> None:
    """Progress, which is not part of the result."""
    print(text, file=sys.stderr, flush=True)
