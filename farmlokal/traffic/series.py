"""What all processes have counted in the last hour or day, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from farmlokal.observability.metrics import BUCKETS
from farmlokal.redis.client import run
from farmlokal.redis.scripts import load
from farmlokal.traffic.reporter import HOUR, MAX_CLIENTS, MINUTE, PREFIX, TEN_MINUTES

STEPS = {1: MINUTE, 24: TEN_MINUTES}  # seconds of a step, by hours
READ = load(__file__, "read.lua")


class Step(NamedTuple):
    begins: int  # seconds since 1970
    counts: Counter[str] | None  # by field; None: no process has reported


class Traffic(NamedTuple):
    at: int  # by Redis's clock; the last step is not over yet
    seconds: int  # of a step
    steps: Sequence[Step]
    clients: Counter[str]  # refusals by "POLICY CLIENT", of the clients with the most


def read(hours: int) -> Traffic | None:
    """hours: 1 or 24. None without Redis."""
    seconds = STEPS[hours]
    number = hours * HOUR // seconds + 1  # one step has only begun
    answer = run(READ, [PREFIX], [seconds, number, HOUR, MAX_CLIENTS])
    if answer is None:
        return None
    at, found, lists = answer
    first = at // seconds - number + 1
    steps = [Step((first + n) * seconds, _pairs(counts) if counts else None) for n, counts in enumerate(found)]
    clients = Counter[str]()
    for flat in lists:
        clients.update(_pairs(flat))
    return Traffic(at, seconds, steps, clients)


def _pairs(flat: Sequence[Any]) -> Counter[str]:
    names = (name.decode(errors="replace") for name in flat[::2])
    return Counter(dict(zip(names, map(int, flat[1::2]), strict=True)))


def quantile(counts: Counter[str], share: float) -> float | None:
    """Seconds that this share of the catalogue's requests took at most; None without requests.

    As Prometheus does: requests are taken as spread evenly between two bounds. The last bound stands for all above it.
    """
    rank, lower, below = share * counts["seconds:+Inf"], 0.0, 0
    for bound in BUCKETS:
        reached = counts[f"seconds:{bound}"]
        if 0 < rank <= reached:
            return lower + (bound - lower) * (rank - below) / (reached - below)
        lower, below = bound, reached
    return lower if rank else None
