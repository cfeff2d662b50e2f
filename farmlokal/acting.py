"""On whose behalf this thread writes: staff, an API client, the partner, or the system itself. History records it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SYSTEM = "system"

_actor: ContextVar[str | Callable[[], str]] = ContextVar("actor", default=SYSTEM)


def current_actor() -> str:
    actor = _actor.get()
    return actor if isinstance(actor, str) else actor()


@contextmanager
def acting_as(actor: str | Callable[[], str]) -> Iterator[None]:
    """A function is called when a write needs the name, because middleware runs before the caller is known."""
    token = _actor.set(actor)
    try:
        yield
    finally:  # the threads of a pool serve other callers next
        _actor.reset(token)
