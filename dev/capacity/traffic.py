"""Requests for many addresses by Zipf's law, and the misses of a cache in front of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

STEP = 1.05  # ranks that differ by less share a group
EULER, EXACT = 0.5772156649, 10


class Flow(NamedTuple):
    """Addresses that are about equally popular."""

    rate: float  # requests a second for each of them
    number: int


def zipf(rate: float, count: int) -> list[Flow]:
    """The n-th of `count` addresses is requested 1/n as often as the first. Together they get `rate`."""
    groups, first = [], 1
    while first <= count:
        last = min(count, max(first, int(first * STEP)))
        groups.append((_harmonic(last) - _harmonic(first - 1), last - first + 1))
        first = last + 1
    return [Flow(rate * weight / _harmonic(count) / number, number) for weight, number in groups]


def _harmonic(n: int) -> float:
    """1 + 1/2 + … + 1/n: exact up to EXACT, then Euler's approximation."""
    if n <= EXACT:
        return sum(1 / number for number in range(1, n + 1))
    return math.log(n) + EULER + 1 / (2 * n) - 1 / (12 * n * n)


def total(flows: Sequence[Flow]) -> float:
    return sum(flow.rate * flow.number for flow in flows)


def kept(flows: Sequence[Flow], seconds: float) -> float:
    """Addresses that are requested within so many seconds: copies that a cache keeps for that long."""
    return sum(-math.expm1(-flow.rate * seconds) * flow.number for flow in flows)


def misses(flows: Sequence[Flow], seconds: float) -> float:
    """Requests a second that are the first for their address since all copies ended, which is every so many seconds."""
    return kept(flows, seconds) / seconds


def behind(flows: Sequence[Flow], places: int, seconds: float) -> list[Flow]:
    """Requests that pass a CDN: at each place, a copy lasts for so many seconds from its first request."""
    return [Flow(flow.rate / (1 + flow.rate / places * seconds), flow.number) for flow in flows]
