"""How a rate is written: 120/60 is 120 requests in 60 seconds, off is no limit."""

from __future__ import annotations

import re

OFF = "off"
ALLOWED = "must be off, or requests/seconds such as 120/60"
RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})")


def parse(text: str) -> tuple[int, int] | None:
    """(requests, seconds), or None for no limit; raises ValueError."""
    if text == OFF:
        return None
    numbers = RATE.fullmatch(text)
    if not numbers:
        raise ValueError(ALLOWED)
    return int(numbers[1]), int(numbers[2])
