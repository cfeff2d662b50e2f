"""Loads many rows fast: by LOAD DATA LOCAL if server and client allow it, else by multi-row INSERT."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import MySQLdb
from django.db import connection
from MySQLdb.connections import Connection

from farmlokal.mysql import driver

Row = tuple[str, ...]  # a text for each column, without tabs, newlines and NULs

CHUNK_ROWS = 10_000  # even by INSERT, takes far less than the 20 seconds that PlanetScale allows a transaction
# On Galera, each commit waits until its node has applied the chunks before it.
GALERA_CHUNK_SECONDS = 0.1
GALERA_FIRST_ROWS, GALERA_MAX_ROWS = 100, 1_000
LOCK_WAIT_SECONDS = 30
SORT_BYTES = 128 * 1024 * 1024
SETTINGS = (
    f"lock_wait_timeout = {LOCK_WAIT_SECONDS}",
    "unique_checks = 0",
    "foreign_key_checks = 0",
    f"innodb_ddl_buffer_size = {SORT_BYTES}",  # MySQL only; its default of 1 MB makes adding keys slow
)
# Local files not allowed (MariaDB, MySQL, client library), unknown variable, not supported.
UNAVAILABLE = {1148, 2068, 3948, 4166, 1193, 1235}
# Vitess also reports unsupported statements as an unknown error.
UNKNOWN_ERROR = 1105
UNAVAILABLE_IN_VITESS = re.compile("direct DDL is disabled|not supported|unsupported|syntax error")


class LoadError(Exception):
    """The load cannot continue. The message says why."""


def is_unavailable(error: MySQLdb.Error) -> bool:
    """Whether the server does not support the statement, so that the caller needs another one."""
    code, *texts = error.args
    return code in UNAVAILABLE or (code == UNKNOWN_ERROR and bool(UNAVAILABLE_IN_VITESS.search(str(texts))))


@contextmanager
def connect() -> Iterator[Connection]:
    """A connection that may read local files, unlike Django's."""
    with closing(driver.connect(connection.get_connection_params() | {"local_infile": 1})) as raw:
        raw.autocommit(True)
        for setting in SETTINGS:
            _set_if_available(raw, setting)
        yield raw


def _set_if_available(raw: Connection, setting: str) -> None:
    try:
        execute(raw, f"SET {setting}")
    except MySQLdb.Error as error:
        if not is_unavailable(error):
            raise


def is_on_galera(raw: Connection) -> bool:
    """Whether other nodes must apply each transaction, and stop all writes while they change a table."""
    return [value for _, value in execute(raw, "SHOW VARIABLES LIKE 'wsrep_on'")] == ["ON"]


def paced_rows(count: int, seconds: float) -> int:
    """The rows of the next chunk on Galera, after this many took so long."""
    return max(1, min(CHUNK_ROWS, GALERA_MAX_ROWS, int(count * GALERA_CHUNK_SECONDS / seconds)))


def load(
    raw: Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    progress: Callable[[int], object],
    in_transaction: Callable[[int], object] = lambda _: None,
) -> None:
    """Add the rows in chunks, one transaction each.

    in_transaction gets each chunk's number of rows before the commit, progress after it.
    Raises LoadError for rows that the table would change or reject.
    """
    put = _load_file
    rows, is_paced = iter(rows), is_on_galera(raw)
    size = GALERA_FIRST_ROWS if is_paced else CHUNK_ROWS
    # The next chunk is written while the server reads one.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as writer:
        upcoming = writer.submit(_write_chunk, rows, size, Path(folder, "0"))
        number = 0
        while count := upcoming.result():
            chunk = Path(folder, str(number))
            number += 1
            upcoming = writer.submit(_write_chunk, rows, size, Path(folder, str(number)))
            began = time.monotonic()
            try:
                with _transaction(raw):
                    put(raw, table, columns, chunk)
                    in_transaction(count)
            except MySQLdb.Error as error:
                if put is _insert_file or not is_unavailable(error):
                    raise
                put = _insert_file
                with _transaction(raw):
                    put(raw, table, columns, chunk)
                    in_transaction(count)
            if is_paced:
                size = paced_rows(count, time.monotonic() - began)
            chunk.unlink()
            progress(count)


def _write_chunk(rows: Iterator[Row], size: int, path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in islice(rows, size):
            file.write("\t".join(row) + "\n")
            count += 1
    return count


def _load_file(raw: Connection, table: str, columns: Sequence[str], path: Path) -> None:
    sql = (
        f"LOAD DATA LOCAL INFILE %s INTO TABLE `{table}` CHARACTER SET utf8mb4 FIELDS ESCAPED BY '' ({_list(columns)})"
    )
    raw.cursor().execute(sql, (str(path),))
    # With LOCAL, the server turns errors into warnings and changes or skips the rows.
    if raw.warning_count():
        raise LoadError(f"{table}: {execute(raw, 'SHOW WARNINGS LIMIT 1')[0][2]}")


def _insert_file(raw: Connection, table: str, columns: Sequence[str], path: Path) -> None:
    marks = ", ".join(["%s"] * len(columns))
    with path.open(encoding="utf-8", newline="") as file:
        rows = [line.removesuffix("\n").split("\t") for line in file]
    try:
        raw.cursor().executemany(f"INSERT INTO `{table}` ({_list(columns)}) VALUES ({marks})", rows)
    except (MySQLdb.DataError, MySQLdb.IntegrityError) as error:
        raise LoadError(f"{table}: {error.args[1]}") from error


@contextmanager
def _transaction(raw: Connection) -> Iterator[None]:
    raw.begin()
    try:
        yield
    except BaseException:
        raw.rollback()
        raise
    raw.commit()


def clear(raw: Connection, tables: Sequence[str]) -> None:
    """Delete all rows, children before parents, in transactions of CHUNK_ROWS."""
    for table in reversed(tables):
        while raw.cursor().execute(f"DELETE FROM `{table}` LIMIT {CHUNK_ROWS}"):
            pass


def execute(raw: Connection, sql: str, parameters: Sequence[object] | None = None) -> tuple[Any, ...]:
    cursor = raw.cursor()
    cursor.execute(sql, parameters)
    return tuple(cursor.fetchall())


def _list(columns: Sequence[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)
