"""Further databases on the tests' MySQL server, and what the server reports about itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from farmlokal.mysql.replicas import replicas
from products.seeding import bulk_loader

# What /readyz tells beside MySQL and Redis.
REPLICAS_UP = {f"mysql_{alias}": "up" for alias in replicas()}
one_mysql = pytest.mark.skipif(bool(replicas()), reason="counts what one server does, and a replica serves the page")


def is_on_galera() -> bool:
    connection.ensure_connection()
    return bulk_loader.is_on_galera(connection.connection)


def urls_of(database: str) -> dict[str, str]:
    """Environment variables for another process: the tests' servers, with this database."""
    given = {name: os.environ.get(name) for name in ("DATABASE_URL", "DATABASE_REPLICA_URL")}
    return {name: urlsplit(url)._replace(path=f"/{database}").geturl() for name, url in given.items() if url}


class Database:
    """A migrated database beside the tests' own, for use by other processes."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.environment = {**os.environ, **urls_of(name), "ALLOWED_HOSTS": "localhost", "ACCESS_LOG": "off"}
        self.environment |= environment

    def manage(self, *arguments: str) -> str:
        """Run manage.py and return its output."""
        return self._run("manage.py", *arguments)

    def python(self, code: str) -> str:
        """Run code after django.setup() and return its output."""
        return self._run("-c", f"import django; django.setup()\n{code}")

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, sql: str) -> tuple[tuple[Any, ...], ...]:
        """Run one statement in this database over the tests' connection, and return its rows."""
        with connection.cursor() as cursor:
            cursor.execute(f"USE `{self.name}`")
            try:
                cursor.execute(sql)
                return tuple(cursor.fetchall())
            finally:
                cursor.execute(f"USE `{connection.settings_dict['NAME']}`")


@contextmanager
def migrated_database(charset: str = "utf8mb4", **environment: str) -> Iterator[Database]:
    """Create and migrate a database with this character set and these settings; drop it afterwards."""
    with _database(charset, environment) as database:
        database.manage("migrate", "--noinput")
        yield database


@contextmanager
def released_database(**environment: str) -> Iterator[Database]:
    """The same with the schema of the last release, and a row in each table."""
    with _database("utf8mb4", environment) as database:
        database.python("from dev.upgrades.released import migrate, fill; migrate(); fill()")
        yield database


@contextmanager
def _database(charset: str, environment: dict[str, str]) -> Iterator[Database]:
    database = Database(f"{connection.settings_dict['NAME']}_other", environment)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS `{database.name}`")
        cursor.execute(f"CREATE DATABASE `{database.name}` CHARACTER SET {charset}")
        try:
            yield database
        finally:
            cursor.execute(f"DROP DATABASE `{database.name}`")


def is_statement_running(text: str) -> bool:
    """Whether any connection to the tests' database runs a statement that contains text, or waits for its lock."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW FULL PROCESSLIST")
        columns = [column[0] for column in cursor.description]
        processes = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    database = connection.settings_dict["NAME"]
    return any(process["db"] == database and text in (process["Info"] or "") for process in processes)


def rows_read(work: Callable[[], object]) -> int:
    """Rows that work() reads over this connection, by the server's own count (Handler_read%)."""
    before = _handler_reads()
    cost_of_counting = _handler_reads() - before
    start = _handler_reads()
    work()
    return _handler_reads() - start - cost_of_counting


def keys_read(work: Callable[[], object]) -> int:
    """Rows that work() finds by a key over this connection: lookups, without the entries that follow in an index."""
    start = _status("Handler_read_key")
    work()
    return _status("Handler_read_key") - start


def statements_sent(work: Callable[[], object]) -> int:
    """Statements that work() sends over this connection, by the server's own count: BEGIN and COMMIT are among them.

    Needs live_database: in the transaction of a test, a transaction is a savepoint.
    """
    start = _status("Questions")
    work()
    return _status("Questions") - start - 1  # the second reading counts itself


def _handler_reads() -> int:
    return _status("Handler_read%")


def _status(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE %s", [name])
        return sum(int(value) for _, value in cursor.fetchall())
