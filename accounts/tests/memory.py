"""Makes this process forget providers, keys, tokens and clients."""

from __future__ import annotations

import os

import redis

from accounts import authentication, clients, keys, tokens


def forgetful() -> None:
    """Make this process like a new one."""
    keys.reset()
    tokens.reset()
    authentication.reset()
    clients.reset()


def clean_slate() -> None:
    """Empty Redis too."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
    forgetful()
