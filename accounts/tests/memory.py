"""What a process remembers of providers, keys, tokens and clients."""

from __future__ import annotations

import os

import redis

from accounts import authentication, clients, keys


def forgetful() -> None:
    """This process is as one that has just begun."""
    keys.SET._begin_anew()
    keys._Anew.claimed_at = 0.0
    authentication.reset()
    clients.reset()


def clean_slate() -> None:
    """Redis is empty too."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as cleared:
        cleared.flushdb()
    forgetful()
