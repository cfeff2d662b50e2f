"""What an examination of the deployment finds, for `manage.py doctor` and for Django's system checks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "skipped", "warning", "error"]

CLOCK_WARNING_SECONDS = 2
CLOCK_ERROR_SECONDS = 30  # the tolerance for tokens; webhooks have 5 minutes


@dataclass(frozen=True)
class Result:
    """name: the part that was examined. advice: what an operator should do, in one sentence."""

    level: Level
    name: str
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Result:
    return Result("ok", name, text)


def clock(name: str, ahead_seconds: float) -> Result:
    """ahead_seconds: how far the clock of the other side is ahead of ours."""
    size = abs(ahead_seconds)
    text = f"Its clock is {size:.1f} s {'ahead of' if ahead_seconds > 0 else 'behind'} ours."
    if size < CLOCK_WARNING_SECONDS:
        return ok(name, text)
    level: Level = "error" if size >= CLOCK_ERROR_SECONDS else "warning"
    return Result(level, name, text, "Synchronise the clocks of both machines by NTP.")


def ahead(ask: Callable[[], float]) -> float:
    """Seconds that another clock is ahead of ours; half of the call's time may be wrong.

    ask: reads the other clock, in seconds since 1970.
    """
    before = time.time()
    theirs = ask()
    return theirs - (before + time.time()) / 2
