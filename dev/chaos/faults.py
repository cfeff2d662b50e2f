"""The faults: each is a context manager that begins it and, after the block, ends it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from MySQLdb import OperationalError

from dev.chaos.clock import Clock
from dev.chaos.world import HOUR, WORKERS, World, rows
from dev.testing.proxy import Proxy
from dev.testing.servers import Daemon
from dev.testing.waiting import wait_until
from farmlokal.mysql.limits import STATEMENT_SECONDS
from integrations.sandbox.server import SigningKey

Fault: TypeAlias = Callable[[World], AbstractContextManager[None]]

SLOWNESS = 2  # a slow Redis answers after so many of our timeouts
REPEAT_SECONDS = 1
SERVICE_CONNECTIONS = "SELECT id FROM information_schema.processlist WHERE user = 'farmlokal'"
MAX_CONNECTIONS = 10  # MariaDB's least
DEADLOCKS = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"


@contextmanager
def _behaving(proxy: Proxy, behaviour: Any, delay: float = 0) -> Iterator[None]:
    proxy.behave(behaviour, delay)
    try:
        yield
    finally:
        proxy.behave("pass")


@contextmanager
def _dead(daemon: Daemon, proxy: Proxy) -> Iterator[None]:
    """Killed; its port refuses connections, as without the proxy."""
    with _behaving(proxy, "refuse"):
        daemon.kill()
        try:
            yield
        finally:
            daemon.start()


@contextmanager
def _frozen(daemon: Daemon) -> Iterator[None]:
    daemon.freeze()
    try:
        yield
    finally:
        daemon.thaw()


@contextmanager
def _repeating(work: Callable[[], object], seconds: float = REPEAT_SECONDS) -> Iterator[None]:
    """Do it every so many seconds, in a thread. Raises its error."""
    is_over, errors = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            while not is_over.is_set():
                work()
                is_over.wait(seconds)
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if errors:
        raise errors[0]


# Redis


def redis_killed(world: World) -> AbstractContextManager[None]:
    return _dead(world.redis, world.redis_proxy)


def redis_frozen(world: World) -> AbstractContextManager[None]:
    return _frozen(world.redis)


def redis_slow(world: World) -> AbstractContextManager[None]:
    timeout = float(world.pace.settings.get("REDIS_TIMEOUT_SECONDS", "0.2"))
    return _behaving(world.redis_proxy, "slow", SLOWNESS * timeout)


def redis_unreachable(world: World) -> AbstractContextManager[None]:
    return _behaving(world.redis_proxy, "blackhole")


@contextmanager
def redis_full(world: World) -> Iterator[None]:
    world.ask_redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
    world.ask_redis("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        world.ask_redis("CONFIG", "SET", "maxmemory", 0)


@contextmanager
def redis_read_only(world: World) -> Iterator[None]:
    world.ask_redis("REPLICAOF", "127.0.0.1", 1)
    try:
        yield
    finally:
        world.ask_redis("REPLICAOF", "NO", "ONE")


def redis_flushed(world: World) -> AbstractContextManager[None]:
    return _repeating(lambda: world.ask_redis("FLUSHALL"))


@contextmanager
def redis_restored(world: World) -> Iterator[None]:
    """It dies, and comes back with its data from before the fault."""
    data, copy = world.redis.folder / "appendonlydir", world.redis.folder / "copy"
    with _frozen(world.redis):
        shutil.copytree(data, copy)
    time.sleep(world.pace.fault)  # writes that the copy lacks
    with _dead(world.redis, world.redis_proxy):
        shutil.rmtree(data)
        copy.rename(data)
        yield


# MySQL


def mysql_killed(world: World) -> AbstractContextManager[None]:
    return _dead(world.mysql, world.mysql_proxy)


def mysql_frozen(world: World) -> AbstractContextManager[None]:
    return _frozen(world.mysql)


def mysql_unreachable(world: World) -> AbstractContextManager[None]:
    return _behaving(world.mysql_proxy, "blackhole")


@contextmanager
def _variables(connection: Any, **values: int) -> Iterator[None]:
    """Global variables of MySQL, which new connections get."""
    ((*before,),) = rows(connection, "SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in values))
    _set(connection, values)
    try:
        yield
    finally:
        _set(connection, dict(zip(values, before, strict=True)))


def _set(connection: Any, values: dict[str, int]) -> None:
    for name, value in values.items():
        rows(connection, f"SET GLOBAL {name} = {value}")


@contextmanager
def mysql_read_only(world: World) -> Iterator[None]:
    with world.root() as root, _variables(root, read_only=1):
        yield


def _kill_connections(world: World, root: Any, spared: Collection[int] = ()) -> None:
    began = time.monotonic()
    for (number,) in rows(root, SERVICE_CONNECTIONS):
        if number not in spared:
            with contextlib.suppress(OperationalError):  # it has ended meanwhile
                rows(root, f"KILL CONNECTION {number}")
    world.kills.append((began, time.monotonic()))


@contextmanager
def connections_killed(world: World) -> Iterator[None]:
    with world.root() as root, _repeating(lambda: _kill_connections(world, root)):
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
                    connection = taken.enter_context(contextlib.closing(world.connect()))
                    spared.append(connection.thread_id())
            return len(spared) >= MAX_CONNECTIONS - 1  # root has one

        with _variables(root, max_connections=MAX_CONNECTIONS):
            wait_until(take_all)
            yield


@contextmanager
def _locked_products(world: World) -> Iterator[None]:
    """A transaction of another program holds the rows of the products that webhooks change."""
    with world.root() as root:
        rows(root, "BEGIN")
        _lock(root, "products_product", "id", world)
        yield


@contextmanager
def lock_waits(world: World) -> Iterator[None]:
    with _locked_products(world):
        time.sleep(STATEMENT_SECONDS)
        yield


def _lock(connection: Any, table: str, column: str, world: World) -> None:
    numbers = ", ".join(map(str, world.load.plan.changed))
    rows(connection, f"SELECT 1 FROM {table} WHERE {column} IN ({numbers}) FOR UPDATE")


def _is_waiting(world: World) -> bool:
    """Whether a transaction waits for a lock."""
    with world.root() as root:
        ((_, number),) = rows(root, "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
        return bool(number != "0")


@contextmanager
def deadlocks(world: World) -> Iterator[None]:
    """Another program takes locks in the other order. It has changed more rows, so MySQL ends our transactions."""
    with world.root() as root:
        rows(root, "CREATE OR REPLACE TABLE heavy (number INT) ENGINE InnoDB")
        rows(root, "INSERT INTO heavy SELECT seq FROM seq_1_to_500")
        before = rows(root, DEADLOCKS)
        with _repeating(partial(_deadlock, world)):
            yield
        assert rows(root, DEADLOCKS) != before


def _deadlock(world: World) -> None:
    with world.root() as root:
        rows(root, "BEGIN")
        rows(root, "UPDATE heavy SET number = number + 1")
        _lock(root, "integrations_appliedversion", "product_id", world)
        with contextlib.suppress(AssertionError):  # no webhook came
            wait_until(lambda: _is_waiting(world), REPEAT_SECONDS)
        with contextlib.suppress(OperationalError):
            _lock(root, "products_product", "id", world)


def temporary_tables_full(world: World) -> AbstractContextManager[None]:
    """No temporary table has room for more than a few rows: error 1114, as on a full disk."""
    return _for_all_connections(world, tmp_memory_table_size=1024, tmp_disk_table_size=1024)


@contextmanager
def mysql_killed_in_transaction(world: World) -> Iterator[None]:
    with _locked_products(world):
        wait_until(lambda: _is_waiting(world))
        with mysql_killed(world):
            yield


@contextmanager
def mysql_and_redis_killed(world: World) -> Iterator[None]:
    with mysql_killed(world), redis_killed(world):
        yield


# Workers


def ports_of(pid: int, server_port: int) -> set[int]:
    """The callers' ports of all connections that this worker has."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]": line for line in lines if line[1].endswith(f":{server_port:04X}")}
    opened = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
    return {int(sockets[name][2].split(":")[1], 16) for name in opened if name in sockets}


def _harm(world: World, workers: int, number: signal.Signals) -> list[int]:
    pids = world.server.workers[:workers]
    for pid in pids:
        world.victims |= ports_of(pid, world.server.port)
        os.kill(pid, number)
    return pids


@contextmanager
def worker_killed(world: World) -> Iterator[None]:
    _harm(world, 1, signal.SIGKILL)
    yield


@contextmanager
def all_workers_killed(world: World) -> Iterator[None]:
    _harm(world, WORKERS, signal.SIGKILL)
    yield


@contextmanager
def worker_blocked(world: World) -> Iterator[None]:
    (pid,) = _harm(world, 1, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def worker_hung(world: World) -> Iterator[None]:
    """Until gunicorn replaces it."""
    (pid,) = _harm(world, 1, signal.SIGSTOP)
    wait_until(lambda: pid not in world.server.workers, world.pace.replace + world.pace.heal)
    yield


# Clocks


@contextmanager
def _stepped(clock: Clock, seconds: int, least: float = 0) -> Iterator[None]:
    clock.step(seconds)
    try:
        time.sleep(least)
        yield
    finally:
        clock.step(0)


def clock_ahead(world: World) -> AbstractContextManager[None]:
    return _stepped(world.clock, HOUR)


def clock_back(world: World) -> AbstractContextManager[None]:
    """For as long as a worker that does not show its master that it runs would live."""
    return _stepped(world.clock, -HOUR, world.pace.replace)


def redis_clock_ahead(world: World) -> AbstractContextManager[None]:
    return _stepped(world.redis_clock, HOUR)


def redis_clock_back(world: World) -> AbstractContextManager[None]:
    return _stepped(world.redis_clock, -HOUR)


# Other


@contextmanager
def log_full(world: World) -> Iterator[None]:
    """The service's processes can write to no file, as on a full disk."""
    _limit_files(world, 0)
    try:
        yield
    finally:
        _limit_files(world, resource.RLIM_INFINITY)


def _limit_files(world: World, size: int) -> None:
    for pid in [world.server.process.pid, *world.server.workers]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def names_dead(world: World) -> Iterator[None]:
    """The partner's name does not resolve, and its connections are lost."""
    world.dead_names.touch()
    with _behaving(world.partner_proxy, "refuse"):
        pass
    try:
        yield
    finally:
        world.dead_names.unlink()


def partner_dead(world: World) -> AbstractContextManager[None]:
    return _behaving(world.partner_proxy, "refuse")


def partner_unreachable(world: World) -> AbstractContextManager[None]:
    return _behaving(world.partner_proxy, "blackhole")


def provider_dead(world: World) -> AbstractContextManager[None]:
    return _behaving(world.provider_proxy, "refuse")


@contextmanager
def provider_dead_token_revoked(world: World) -> Iterator[None]:
    with provider_dead(world):
        world.sandbox.provider.key = SigningKey()
        yield


def keys_dead(world: World) -> AbstractContextManager[None]:
    return _behaving(world.keys_proxy, "refuse")
