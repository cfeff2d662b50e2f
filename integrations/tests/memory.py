"""Makes this process forget the partner, or do without Redis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from accounts.tests import memory
from farmlokal.redis.client import Outages
from integrations.partner import quotes
from integrations.partner.client import BREAKERS

if TYPE_CHECKING:
    from collections.abc import Iterator


def forgetful() -> None:
    """Make this process like a new one."""
    memory.forgetful()
    quotes.reset()
    for breaker in BREAKERS:
        breaker.forget()


def clean_slate() -> None:
    """Empty Redis too."""
    memory.clean_slate()
    forgetful()


@contextlib.contextmanager
def redis_let_be() -> Iterator[None]:
    """Do without Redis, as after a failure."""
    Outages.is_away = True
    try:
        yield
    finally:
        Outages.end()
