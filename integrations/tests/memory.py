"""Reset what this process remembers, and do without Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from accounts.tests import memory
from farmlokal.redis.client import Outages
from integrations.partner import quotes
from integrations.partner.client import BREAKERS


def reset_process() -> None:
    """Make this process as forgetful as a new one."""
    memory.forgetful()
    quotes.reset()
    for breaker in BREAKERS:
        breaker.forget()


def reset_all() -> None:
    """Empty Redis, too."""
    memory.clean_slate()
    reset_process()


@contextlib.contextmanager
def without_redis() -> Iterator[None]:
    """As after a failed command."""
    Outages.is_away = True
    try:
        yield
    finally:
        Outages.end()
