"""MySQL is away, read-only or full, its connections end or are taken, or another program holds locks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from MySQLdb import OperationalError

from dev.chaos.faults import harm
from dev.chaos.world import World
from dev.testing.mysql import connect, query
from dev.testing.repeating import repeating
from dev.testing.waiting import wait_until
from farmlokal.mysql.limits import STATEMENT_SECONDS

SERVICE_CONNECTIONS = "SELECT id FROM information_schema.processlist WHERE user = 'farmlokal'"
MAX_CONNECTIONS = 10  # MariaDB's least
DEADLOCKS = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"


def killed(world: World) -> AbstractContextManager[None]:
    return harm.dead(world.mysql, world.mysql_proxy)


def frozen(world: World) -> AbstractContextManager[None]:
    return harm.frozen(world.mysql)


def unreachable(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.mysql_proxy, "blackhole")


@contextmanager
def _variables(connection: Any, **values: int) -> Iterator[None]:
    """Global variables of MySQL, which new connections get."""
    ((*before,),) = query(connection, "SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in values))
    _set(connection, values)
    try:
        yield
    finally:
        _set(connection, dict(zip(values, before, strict=True)))


def _set(connection: Any, values: dict[str, int]) -> None:
    for name, value in values.items():
        query(connection, f"SET GLOBAL {name} = {value}")


@contextmanager
def read_only(world: World) -> Iterator[None]:
    with world.root() as root, _variables(root, read_only=1):
        yield


def _kill_connections(world: World, root: Any, spared: Collection[int] = ()) -> None:
    began = time.monotonic()
    for (number,) in query(root, SERVICE_CONNECTIONS):
        if number not in spared:
            with contextlib.suppress(OperationalError):  # it has ended meanwhile
                query(root, f"KILL CONNECTION {number}")
    world.kills.append((began, time.monotonic()))


@contextmanager
def connections_killed(world: World) -> Iterator[None]:
    with world.root() as root, repeating(lambda: _kill_connections(world, root), harm.REPEAT_SECONDS):
        yield


@contextmanager
def _for_all_connections(world: World, **values: int) -> Iterator[None]:
    with world.root() as root:
        with _variables(root, **values):
            _kill_connections(world, root)
            yield
        _kill_connections(world, root)


def idle_connections_closed(world: World) -> AbstractContextManager[None]:
    return _for_all_connections(world, wait_timeout=1)


@contextmanager
def connections_exhausted(world: World) -> Iterator[None]:
    """Others have taken all connections."""
    with world.root() as root, contextlib.ExitStack() as taken:
        spared: list[int] = []

        def take_all() -> bool:
            _kill_connections(world, root, spared)
            with contextlib.suppress(OperationalError):  # too many connections
                while True:
                    connection = taken.enter_context(contextlib.closing(connect(world.mysql.url)))
                    spared.append(connection.thread_id())
            return len(spared) >= MAX_CONNECTIONS - 1  # root has one

        with _variables(root, max_connections=MAX_CONNECTIONS):
            wait_until(take_all)
            yield


@contextmanager
def _locked_products(world: World) -> Iterator[None]:
    """A transaction of another program holds the rows of the products that webhooks change."""
    with world.root() as root:
        query(root, "BEGIN")
        _lock(root, "products_product", "id", world)
        yield


@contextmanager
def lock_waits(world: World) -> Iterator[None]:
    with _locked_products(world):
        time.sleep(STATEMENT_SECONDS)
        yield


def _lock(connection: Any, table: str, column: str, world: World) -> None:
    numbers = ", ".join(map(str, world.load.plan.changed))
    query(connection, f"SELECT 1 FROM {table} WHERE {column} IN ({numbers}) FOR UPDATE")


def _is_waiting(world: World) -> bool:
    """Whether a transaction waits for a lock."""
    with world.root() as root:
        ((_, number),) = query(root, "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
        return bool(number != "0")


@contextmanager
def deadlocks(world: World) -> Iterator[None]:
    """Another program takes locks in the other order. It has changed more rows, so MySQL ends our transactions."""
    with world.root() as root:
        query(root, "CREATE OR REPLACE TABLE heavy (number INT) ENGINE InnoDB")
        query(root, "INSERT INTO heavy SELECT seq FROM seq_1_to_500")
        before = query(root, DEADLOCKS)
        with repeating(partial(_deadlock, world), harm.REPEAT_SECONDS):
            yield
        assert query(root, DEADLOCKS) != before


def _deadlock(world: World) -> None:
    with world.root() as root:
        query(root, "BEGIN")
        query(root, "UPDATE heavy SET number = number + 1")
        _lock(root, "integrations_appliedversion", "product_id", world)
        with contextlib.suppress(AssertionError):  # no webhook came
            wait_until(lambda: _is_waiting(world), harm.REPEAT_SECONDS)
        with contextlib.suppress(OperationalError):
            _lock(root, "products_product", "id", world)


def temporary_tables_full(world: World) -> AbstractContextManager[None]:
    """No temporary table has room for more than a few rows: error 1114, as on a full disk."""
    return _for_all_connections(world, tmp_memory_table_size=1024, tmp_disk_table_size=1024)


@contextmanager
def killed_in_transaction(world: World) -> Iterator[None]:
    with _locked_products(world):
        wait_until(lambda: _is_waiting(world))
        with killed(world):
            yield
