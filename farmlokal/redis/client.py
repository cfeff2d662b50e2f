"""Scripts in Redis for threads, and whether this process does without Redis for now.

The service asks Redis for scripts only, one command each. All their keys share a hash tag (the part of a key that
decides which node of a cluster has it), so a script may touch several, and the client only has to find that node.

A command waits for its answer for REDIS_TIMEOUT_SECONDS. After a failure the process does without Redis, and a
background thread probes it. So a Redis that hangs costs each thread one timeout, however long it hangs.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog
from django_redis import get_redis_connection
from redis import RedisError
from redis import exceptions as redis_exceptions

from farmlokal.observability import request_costs
from farmlokal.redis.scripts import FORGET, PROBE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from farmlokal.redis.scripts import Script

PAUSE_SECONDS = 0.2  # between two probes of a Redis that is away
LOOK_SECONDS = 0.05  # a thread that waits for an answer notices within this time that Redis is silent

logger = structlog.get_logger(__name__)


class DeadlineError(RedisError):
    """The caller's own deadline came first. That says nothing about Redis."""


class _Deadline(threading.local):
    ends = math.inf  # by time.monotonic


_deadline = _Deadline()


@contextlib.contextmanager
def until(ends: float) -> Iterator[None]:
    """Commands of this thread wait no longer than that. Redis still runs a command whose answer comes too late."""
    before, _deadline.ends = _deadline.ends, ends
    try:
        yield
    finally:
        _deadline.ends = before


class Outages:
    """Whether this process does without Redis now, and how often Redis may have lost data.

    away: a command has failed. silent: it has failed by a timeout, so one more attempt could cost another timeout.
    """

    losses = 0
    silences = 0
    is_away = False
    is_silent = False
    _lock = threading.Lock()

    @classmethod
    def note(cls, error: Exception) -> None:
        is_silent = isinstance(error, redis_exceptions.TimeoutError)
        with cls._lock:
            cls.is_silent = is_silent
            cls.silences += is_silent
            cls.losses += not is_silent  # silence alone changes nothing in Redis
            if cls.is_away:
                return
            cls.is_away = True
        logger.warning("redis_unavailable", error=str(error))
        threading.Thread(target=cls._probe, name="redis-probe", daemon=True).start()

    @classmethod
    def end(cls) -> None:
        with cls._lock:
            cls.is_away = cls.is_silent = False

    @classmethod
    def _probe(cls) -> None:
        """The script writes, so a Redis that refuses scripts or writes stays away."""
        while cls.is_away:
            time.sleep(PAUSE_SECONDS)
            try:
                ask(FORGET, [PROBE_KEY])
            except RedisError as error:
                cls.note(error)
            else:
                cls.end()
                logger.info("redis_answers")


def run(script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), *, insists: bool = False) -> Any:
    """What the script returns, or None without Redis. insists: try although Redis is away, unless it is silent."""
    if Outages.is_away and (Outages.is_silent or not insists):
        return None
    try:
        return ask(script, keys, arguments)
    except DeadlineError:
        return None
    except RedisError as error:
        Outages.note(error)
        return None


def ask(script: Script, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
    """What the script returns. Raises RedisError. Tries, and may wait, even while Redis is away."""
    client = get_redis_connection("default")
    try:
        return _evaluate(client, script, keys, arguments)
    except redis_exceptions.MovedError as moved:
        _follow(client, moved)
        return _evaluate(client, script, keys, arguments)


def _evaluate(client: Redis, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    try:
        return _send(client, "EVALSHA", script.sha, len(keys), *keys, *arguments)
    except redis_exceptions.NoScriptError:
        return _send(client, "EVAL", script.text, len(keys), *keys, *arguments)


def _send(client: Redis, *command: Any) -> Any:
    if time.monotonic() >= _deadline.ends:  # a new connection would wait for its greeting, too
        raise DeadlineError("no time was left")
    request_costs.current.commands += 1
    connection: Any = client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        try:
            _wait_for_answer(connection)
        except BaseException:
            connection.disconnect()  # a late answer must not be read as the next command's
            raise
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def _wait_for_answer(connection: Any) -> None:
    """Until the timeout, the caller's deadline, or until another command finds that Redis is silent.

    It looks once more after that: the process may have stood still while the answer arrived.
    """
    silences, is_over = Outages.silences, False
    timeout_at = time.monotonic() + connection.socket_timeout
    ends = min(timeout_at, _deadline.ends)
    while not connection.can_read(0 if is_over else min(LOOK_SECONDS, max(ends - time.monotonic(), 0))):
        if is_over and Outages.silences == silences and ends < timeout_at:
            raise DeadlineError("no answer before the deadline")
        if is_over:
            raise redis_exceptions.TimeoutError("no answer in time")
        is_over = Outages.silences > silences or time.monotonic() >= ends


def _follow(client: Redis, moved: redis_exceptions.MovedError) -> None:
    """The node of a cluster that holds our keys is another one now; the pool is the process's own."""
    client.connection_pool.connection_kwargs.update(host=moved.host, port=moved.port)
    client.connection_pool.disconnect()
    client.connection_pool.reset()  # connections that are there keep their address
