"""The fields of a row in the fault table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from dev.chaos.faults.harm import Fault
from dev.chaos.samples import Kind

Answers: TypeAlias = Mapping[Kind, frozenset[str]]

NONE: Answers = MappingProxyType({})


class Row(NamedTuple):
    """One fault, and what the service promises during it.

    promise: in words. allowed: answers that the fault explains, in addition to the normal ones. All other kinds of
    requests keep working. added_ms, heal_seconds: upper bounds. shows: an answer that proves that the service met the
    fault. is_momentary: the fault ends by itself, so the time to heal counts from its begin. ends_workers: the fault
    ends worker processes. resets_limits: rate limits start over during the fault, and again after it.
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
