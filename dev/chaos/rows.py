"""What a row of the fault table says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from dev.chaos.faults.harm import Fault
from dev.chaos.samples import Kind

Answers: TypeAlias = Mapping[Kind, frozenset[str]]

NONE: Answers = MappingProxyType({})


class Row(NamedTuple):
    """One fault, and the promise.

    promise: in words. allowed: the answers that the fault explains, beside the normal ones; all other kinds of requests
    keep working. added_ms, heal_seconds: bounds. shows: an answer that proves that the service met the fault.
    is_momentary: it heals by itself, so the time to heal counts from its beginning. ends_workers: so it does.
    resets_limits: rate limits start over, also at its end.
    """

    name: str
    promise: str
    fault: Fault
    allowed: Answers = NONE
    added_ms: int = 50
    heal_seconds: float = 2
    shows: tuple[Kind, str] | None = None
    is_momentary: bool = False
    ends_workers: bool = False
    resets_limits: bool = False

    @property
    def id(self) -> str:
        return self.name.lower().replace(" ", "-").replace(",", "")
