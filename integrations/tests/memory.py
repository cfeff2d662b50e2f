"""What a process remembers of partners; and a Redis that it lets be."""

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
    """This process is as one that has just begun."""
    memory.forgetful()
    quotes.reset()
    for breaker in BREAKERS:
        breaker.forget()


def clean_slate() -> None:
    """Redis is empty too."""
    memory.clean_slate()
    forgetful()


@contextlib.contextmanager
def redis_let_be() -> Iterator[None]:
    """As after a failure."""
    Outages.is_away = True
    try:
        yield
    finally:
        Outages.end()
