"""The length of the comparisons, and the order of their servers, which changes with each turn."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def setting(name: str, default: int) -> int:
    """A number from the environment: TURNS, or SECONDS of each turn."""
    return int(os.environ.get(name) or default)


TURNS = setting("TURNS", 5)


def in_turns(items: Sequence[Item], count: int = TURNS) -> Iterator[Sequence[Item]]:
    """Yield the items once for each turn, so that each of them is first, second and last about as often."""
    for turn in range(count):
        start = turn % len(items)
        yield [*items[start:], *items[:start]]
