"""Makes this process forget providers, keys, tokens and clients."""

from __future__ import annotations

from accounts import authentication, clients, keys, tokens
from dev.testing.redis_keys import forget_keys


def forgetful() -> None:
    """Make this process like a new one."""
    keys.reset()
    tokens.reset()
    authentication.reset()
    clients.reset()


def clean_slate() -> None:
    """Empty Redis too."""
    forget_keys()
    forgetful()
