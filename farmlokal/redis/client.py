"""Runs scripts in Redis for threads, and knows whether this process works without Redis at the moment.

A command waits up to REDIS_TIMEOUT_SECONDS for its answer. After a failure the process works without Redis until
a background probe succeeds. So a Redis that hangs costs each thread one timeout, however long it hangs.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from redis import ConnectionPool, RedisError
from redis import exceptions as redis_exceptions

from farmlokal.observability import request_costs, tracing
from farmlokal.redis.nodes import ClusterMasters, current_nodes
from farmlokal.redis.scripts import DELETE_KEY, PROBE_KEYS, Script

PAUSE_SECONDS = 0.2  # between two probes of a Redis that is away
LOOK_SECONDS = 0.05  # a waiting thread notices within this time that another thread found Redis silent

logger = structlog.get_logger(__name__)


class DeadlineError(RedisError):
    """The caller's own deadline ended the wait, which says nothing about Redis."""


class _Deadline(threading.local):
    ends = math.inf  # by time.monotonic


_deadline = _Deadline()


@contextlib.contextmanager
def until(ends: float) -> Iterator[None]:
    """Bound the waits of this thread by a time of time.monotonic. Redis still runs a command that answers too late."""
    before, _deadline.ends = _deadline.ends, ends
    try:
        yield
    finally:
        _deadline.ends = before


class Outages:
    """Whether this process works without Redis now, and how often Redis may have lost data.

    away: a command has failed. silent: it failed by a timeout, so another attempt could cost another timeout.
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
        logger.warning("redis_unavailable", error=describe(error))
        threading.Thread(target=cls._probe, name="redis-probe", daemon=True).start()

    @classmethod
    def count_loss(cls) -> None:
        """Redis may have lost data: there is another server, or another connection."""
        with cls._lock:
            cls.losses += 1

    @classmethod
    def end(cls) -> None:
        with cls._lock:
            cls.is_away = cls.is_silent = False

    @classmethod
    def _probe(cls) -> None:
        """Run scripts that write, so that a Redis without scripts or writes stays away, and all nodes must answer."""
        while cls.is_away:
            current_nodes().drop_idle_connections()
            time.sleep(PAUSE_SECONDS)
            try:
                current_nodes().ask_seeds()
                ask_all(DELETE_KEY)
            except RedisError as error:
                cls.note(error)
            else:
                cls.end()
                logger.info("redis_answers")


def describe(error: Exception) -> str:
    if isinstance(error, redis_exceptions.MovedError):
        is_cluster = isinstance(current_nodes(), ClusterMasters)
        advice = "" if is_cluster else ": the REDIS_URL of a cluster begins with redis+cluster://"
        return f"these keys are at {error.host}:{error.port}{advice}"
    return str(error)


def run(script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), *, insists: bool = False) -> Any:
    """Return the script's result, or None without Redis. insists: try a Redis that is away, unless it is silent."""
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
    """Return the script's result. Raise RedisError. Try, and maybe wait, even while Redis is away.

    keys: of one hash tag. The server that has them runs the script.
    """
    nodes, first = current_nodes(), keys[0] if keys else ""
    with tracing.redis_span(script.name):
        try:
            return _evaluate(nodes.pool_of(first), script, keys, arguments)
        except redis_exceptions.MovedError as moved:
            nodes.follow(moved)
            Outages.count_loss()
            return _evaluate(nodes.pool_of(first), script, keys, arguments)


def ask_all(script: Script) -> Sequence[Any]:
    """The script's result from each server that has keys of ours. KEYS is a key that is there. Raise RedisError."""
    return [ask(script, [key]) for key in key_of_each_server()]


def key_of_each_server() -> Sequence[str]:
    """A probe key on each server that has keys of ours. Raise RedisError."""
    nodes = current_nodes()
    return list({nodes.pool_of(key): key for key in PROBE_KEYS}.values())


def _evaluate(pool: ConnectionPool, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    try:
        return _send(pool, "EVALSHA", script.sha, len(keys), *keys, *arguments)
    except redis_exceptions.NoScriptError:
        return _send(pool, "EVAL", script.text, len(keys), *keys, *arguments)


def _send(pool: ConnectionPool, *command: Any) -> Any:
    if time.monotonic() >= _deadline.ends:  # a new connection would also wait for its handshake
        raise DeadlineError("no time was left")
    request_costs.current.commands += 1
    connection: Any = pool.get_connection()
    try:
        connection.send_command(*command)
        try:
            _wait_for_answer(connection)
        except BaseException:
            connection.disconnect()  # a late answer must not pass for the next command's
            raise
        return connection.read_response()
    finally:
        pool.release(connection)


def _wait_for_answer(connection: Any) -> None:
    """Wait until the timeout, the caller's deadline, or another thread's discovery that Redis is silent.

    Then look once more: the process may have stood still while the answer arrived.
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
