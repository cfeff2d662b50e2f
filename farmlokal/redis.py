"""Redis, which every request can do without: what it holds is found again, and its absence costs little.

Timeouts stand in settings. Where Redis did not answer, a process lets it be for a moment, so that a
Redis that hangs does not slow every request by its timeout.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import structlog
from django_redis import get_redis_connection
from redis import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

T = TypeVar("T")

PAUSE_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class _Away:
    until = 0.0


def ask(work: Callable[[Redis], T], *, insists: bool = False) -> T | None:
    """What work returns, or None where Redis is away. Who insists is not put off by an earlier failure."""
    if time.monotonic() < _Away.until and not insists:
        return None
    try:
        return work(get_redis_connection("default"))
    except RedisError as error:
        _Away.until = time.monotonic() + PAUSE_SECONDS
        logger.warning("redis_unavailable", error=str(error))
        return None
