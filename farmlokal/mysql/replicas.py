"""Read replicas: DATABASE_REPLICA_URL, as Django's databases replica1, replica2 …

A replica serves a page only if it has every commit that the page must show. The position in the primary's log of
changes tells: the caller gives one that has those commits, and the replica says whether it has reached that.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections

from farmlokal.mysql.errors import is_aborted

T = TypeVar("T")

# MariaDB executes /*M! comments, MySQL /*!80000. MASTER_GTID_WAIT(…, 0) answers at once, and -1 before the position.
POSITION = """
    SELECT /*M! @@gtid_binlog_pos */ /*!80000 IF(LEFT(@@global.gtid_mode, 2) = 'ON', @@global.gtid_executed, '') */
"""
HAS_REACHED = "SELECT /*M! MASTER_GTID_WAIT(%s, 0) = 0 */ /*!80000 GTID_SUBSET(%s, @@global.gtid_executed) */"
FAILED_SECONDS = 1.0  # until a replica that failed, or refused, is tried again
BEHIND_SECONDS = 0.1

logger = structlog.get_logger(__name__)


class _Reading(threading.local):
    alias = DEFAULT_DB_ALIAS


_reading = _Reading()
_rests: dict[str, float] = {}  # alias -> when it is tried again, by time.monotonic


class Router:
    """Django's router: reads inside read() go to the replica that it has chosen, and all else to the primary."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return _reading.alias

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, *names: Any, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS


def reading_connection() -> Any:
    """For SQL of our own: the connection that the router would choose."""
    return connections[_reading.alias]


def replicas() -> list[str]:
    return [alias for alias in connections if alias != DEFAULT_DB_ALIAS]


def current_position() -> str:
    """Of the primary, with all commits until now. "": it writes no log that replicas could follow by GTID."""
    with connection.cursor() as cursor:
        cursor.execute(POSITION)
        ((position,),) = cursor.fetchall()
    return str(position or "").replace("\n", "")


def read(make: Callable[[], T], generation: str, position_of: Callable[[str], str]) -> T:
    """Return make(), whose reads go to a replica that has reached the generation's position, else to the primary.

    A replica that fails costs this call a second attempt, on the primary, and then rests.
    generation: of the page cache; "" if none is known. position_of: gives its position; "" means no replica will do.
    """
    awake = [alias for alias in replicas() if time.monotonic() >= _rests.get(alias, 0)]
    position = position_of(generation) if awake else ""
    for alias in random.sample(awake, len(awake)) if position else ():
        try:
            if _is_fresh(connections[alias], generation, position):
                with _reading_from(alias):
                    return make()
        except Error as error:
            if is_aborted(error):
                raise
            logger.warning("replica_failed", database=alias, error=str(error))
            connections[alias].close()
            _rests[alias] = time.monotonic() + FAILED_SECONDS
            break  # a frozen one has cost a second: do not try another
        _rests[alias] = time.monotonic() + BEHIND_SECONDS
    return make()


@contextlib.contextmanager
def _reading_from(alias: str) -> Iterator[None]:
    _reading.alias = alias
    try:
        yield
    finally:
        _reading.alias = DEFAULT_DB_ALIAS


def has_reached(replica: Any, position: str) -> bool:
    """Whether the server of a Django connection has every commit up to the position."""
    with replica.cursor() as cursor:
        cursor.execute(HAS_REACHED, [position, position])
        return bool(cursor.fetchone()[0])


def _is_fresh(replica: Any, generation: str, position: str) -> bool:
    """The connection remembers it, not the process: there may be several servers behind one address."""
    with replica.cursor():  # replaces a dead connection now, and not in make()
        is_known = generation and replica.reached_generation == generation
    if not (is_known or has_reached(replica, position)):
        return False
    replica.reached_generation = generation
    return True
