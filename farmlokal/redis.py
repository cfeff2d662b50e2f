"""Redis, which every request can do without: what it holds is found again, and its absence costs little.

All that is asked of it here is scripts, one command each. Their keys share a hash tag: on a cluster they live on one
node, so that a script may touch several, and this service needs no more than to find that node.

Timeouts stand in settings. Where Redis did not answer, a process lets it be for a moment, so that a Redis that hangs
does not slow every request by its timeout.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django_redis import get_redis_connection
from redis import RedisError
from redis import exceptions as redis_exceptions

from farmlokal import tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

HASH_TAG: str = settings.CACHES["default"]["KEY_PREFIX"]
PAUSE_SECONDS = 0.05  # after one failure, twice as long after each further one
MAX_PAUSE_SECONDS = 1.0

# For scripts: Redis's own clock, which all processes share, in microseconds.
CLOCK_LUA = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
"""

logger = structlog.get_logger(__name__)


def key(*parts: str) -> str:
    return ":".join((HASH_TAG, *parts))


class Script:
    """Lua that Redis runs at once, knowing it by its hash."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


FORGET = Script("return {redis.call('DEL', KEYS[1])}")


class Outages:
    """What this process has noticed: how often it lost Redis, which may have come back with what it once held, and
    until when it lets it be."""

    losses = 0
    over_at = 0.0
    in_a_row = 0

    @classmethod
    def note(cls, error: object) -> None:
        cls.losses += not isinstance(error, redis_exceptions.TimeoutError)  # silence alone changes nothing in Redis
        if time.monotonic() > cls.over_at:  # one line for many failures
            logger.warning("redis_unavailable", error=str(error))
        cls.over_at = time.monotonic() + min(PAUSE_SECONDS * 2 ** min(cls.in_a_row, 10), MAX_PAUSE_SECONDS)
        cls.in_a_row += 1

    @classmethod
    def end(cls) -> None:
        cls.in_a_row, cls.over_at = 0, 0.0


def run(script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), *, insists: bool = False) -> Any:
    """What the script returns, or None where Redis is away. Who insists is not put off by an earlier failure."""
    if time.monotonic() < Outages.over_at and not insists:
        return None
    try:
        client = get_redis_connection("default")
        try:
            answer = _evaluate(client, script, keys, arguments)
        except redis_exceptions.MovedError as moved:
            _follow(client, moved)
            answer = _evaluate(client, script, keys, arguments)
    except RedisError as error:
        Outages.note(error)
        return None
    Outages.end()
    return answer


def _evaluate(client: Redis, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    tally.current.commands += 1
    try:
        return client.evalsha(script.sha, len(keys), *keys, *arguments)
    except redis_exceptions.NoScriptError:
        tally.current.commands += 1
        return client.eval(script.text, len(keys), *keys, *arguments)


def _follow(client: Redis, moved: redis_exceptions.MovedError) -> None:
    """The node of a cluster that holds our keys is another one now; the pool is the process's own."""
    client.connection_pool.connection_kwargs.update(host=moved.host, port=moved.port)
    client.connection_pool.disconnect()
    client.connection_pool.reset()  # connections that are there keep their address
