"""Numbers of rows that may be estimates, and their words for people."""

from __future__ import annotations

from typing import NamedTuple


class Total(NamedTuple):
    number: int
    is_exact: bool

    def __str__(self) -> str:
        return f"exactly {self.number:,}" if self.is_exact else about(self.number)


def about(number: int) -> str:
    """An estimate in two digits, such as "about 37,000"."""
    return f"about {round(number, min(0, 2 - len(str(number)))):,}"
