"""Loads many rows fast: LOAD DATA LOCAL where server and client allow it, multi-row INSERT elsewhere.

A whole table is replaced by a new one that is loaded beside it, gets its keys last, and takes its
place in one RENAME TABLE: whoever dies on the way leaves the old table as it was.
"""

from __future__ import annotations

import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import MySQLdb
from django.db import connection

from farmlokal.mysql import driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from MySQLdb.connections import Connection

Row = tuple[str, ...]  # one text a column, without tabs, newlines or nulls

CHUNK_ROWS = 50_000
LOCK_WAIT_SECONDS = 30
SORT_BYTES = 128 * 1024 * 1024
# Locks are the whole server's: the name is one database's. (MySQL 9 has no MD5, and names have 64 characters.)
LOCK_NAME = "CONCAT('bulkload ', LEFT(SHA2(DATABASE(), 256), 40))"
# "Local files are not allowed here", in the words of MariaDB, MySQL and the client library.
LOCAL_FILES_REFUSED = {1148, 2068, 3948, 4166}


class LoadError(Exception):
    """The load cannot go on; the message says why."""


@contextmanager
def connect() -> Iterator[Connection]:
    """A connection that may read local files, which the application's own may not."""
    with closing(driver.connect(connection.get_connection_params() | {"local_infile": 1})) as raw:
        raw.autocommit(True)
        settings = f"lock_wait_timeout = {LOCK_WAIT_SECONDS}, unique_checks = 0, foreign_key_checks = 0"
        # MySQL alone reads the comment: by default it sorts all keys of a table in one megabyte.
        execute(raw, f"SET {settings} /*!80027 , innodb_ddl_buffer_size = {SORT_BYTES} */")
        yield raw


@contextmanager
def bulk_connection() -> Iterator[Connection]:
    """The connection of the one load that may run at a time; LoadError where there is one already."""
    with connect() as raw:
        if execute(raw, f"SELECT GET_LOCK({LOCK_NAME}, 0)") != ((1,),):
            raise LoadError("another load is running.")
        yield raw


def load(
    raw: Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    progress: Callable[[int], object],
    also: Callable[[int], object] = lambda _: None,
) -> None:
    """Adds the rows in chunks, each whole or not at all; progress is told each chunk's number of rows, and so is
    also, in the chunk's own transaction.

    Raises LoadError for rows that the table does not take as they are.
    """
    put = _load_file
    rows = iter(rows)
    # While the server reads one chunk, the next is written.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as writer:
        upcoming = writer.submit(_write_chunk, rows, Path(folder, "0"))
        number = 0
        while count := upcoming.result():
            chunk = Path(folder, str(number))
            number += 1
            upcoming = writer.submit(_write_chunk, rows, Path(folder, str(number)))
            try:
                with _transaction(raw):
                    put(raw, table, columns, chunk)
                    also(count)
            except MySQLdb.Error as error:
                if put is _insert_file or error.args[0] not in LOCAL_FILES_REFUSED:
                    raise
                put = _insert_file
                with _transaction(raw):
                    put(raw, table, columns, chunk)
                    also(count)
            chunk.unlink()
            progress(count)


def _write_chunk(rows: Iterator[Row], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in islice(rows, CHUNK_ROWS):
            file.write("\t".join(row) + "\n")
            count += 1
    return count


def _load_file(raw: Connection, table: str, columns: Sequence[str], path: Path) -> None:
    sql = (
        f"LOAD DATA LOCAL INFILE %s INTO TABLE `{table}` CHARACTER SET utf8mb4 FIELDS ESCAPED BY '' ({_list(columns)})"
    )
    raw.cursor().execute(sql, (str(path),))
    # LOCAL turns errors into warnings, and changes or skips the rows.
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


class Replacement:
    """New tables for old ones, parents before children; swap() puts all in place at once."""

    def __init__(self, raw: Connection, tables: Sequence[str]) -> None:
        self.raw = raw
        self.tables = tables
        self.keys: dict[str, list[str]] = {}

    @staticmethod
    def new(table: str) -> str:
        return f"{table}__new"

    def __enter__(self) -> Replacement:
        """Makes the new tables, empty and with no key but the primary one."""
        self._refuse_foreign_references()
        self._drop_leftovers()
        for table in self.tables:
            new = self.new(table)
            ((_, definition),) = execute(self.raw, f"SHOW CREATE TABLE `{table}`")
            keys = secondary_keys(definition)
            foreign = [self._renamed(table, key) for key in foreign_keys(definition)]
            self.keys[table] = [*keys.values(), *foreign]
            execute(self.raw, f"CREATE TABLE `{new}` LIKE `{table}`")
            execute(self.raw, f"ALTER TABLE `{new}` {', '.join(f'DROP KEY `{name}`' for name in keys)}")
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_leftovers()

    def add_keys(self, table: str, raw: Connection) -> None:
        """All of them in one pass over the rows, and then the statistics that the optimizer goes by."""
        new = self.new(table)
        execute(raw, f"ALTER TABLE `{new}` {', '.join(f'ADD {key}' for key in self.keys[table])}")
        execute(raw, f"ANALYZE TABLE `{new}`")

    def swap(self) -> None:
        renames = [f"`{t}` TO `{t}__old`, `{self.new(t)}` TO `{t}`" for t in self.tables]
        # With checks on, a foreign key follows the table that it refers to.
        execute(self.raw, "SET foreign_key_checks = 1")
        execute(self.raw, f"RENAME TABLE {', '.join(renames)}")
        execute(self.raw, "SET foreign_key_checks = 0")

    def _renamed(self, table: str, foreign_key: str) -> str:
        """A foreign key of the old table as the new one gets it. Its name is the whole database's, so that two
        names take turns; it refers to the new parent, which takes the old one's name in the swap."""
        pattern = r"CONSTRAINT `(\w+)` FOREIGN KEY \(`(\w+)`\) REFERENCES `(\w+)`(.*)"
        name, column, parent, rest = re.findall(pattern, foreign_key)[0]
        name = f"{table}_{column}_fk_{'b' if name.endswith('_fk_a') else 'a'}"
        parent = self.new(parent) if parent in self.tables else parent
        return f"CONSTRAINT `{name}` FOREIGN KEY (`{column}`) REFERENCES `{parent}`{rest}"

    def _refuse_foreign_references(self) -> None:
        """A foreign key of a table that is not replaced would follow the old table, and point nowhere then."""
        sql = (
            "SELECT table_name, referenced_table_name FROM information_schema.key_column_usage"
            " WHERE referenced_table_schema = DATABASE()"
        )
        for table, referenced in execute(self.raw, sql):
            if referenced in self.tables and table.removesuffix("__new").removesuffix("__old") not in self.tables:
                raise LoadError(f"{table} refers to {referenced}, which cannot be replaced without it.")

    def _drop_leftovers(self) -> None:
        for table in reversed(self.tables):
            execute(self.raw, f"DROP TABLE IF EXISTS `{table}__new`, `{table}__old`")


def execute(raw: Connection, sql: str) -> tuple[Any, ...]:
    cursor = raw.cursor()
    cursor.execute(sql)
    return tuple(cursor.fetchall())


def _list(columns: Sequence[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def secondary_keys(create_table: str) -> dict[str, str]:
    """name -> definition, as ALTER TABLE … ADD takes it, of the keys in a SHOW CREATE TABLE."""
    keys = re.findall(r"^  ((?:UNIQUE |FULLTEXT )?KEY `(\w+)` .*?),?$", create_table, re.MULTILINE)
    return {name: definition for definition, name in keys}


def foreign_keys(create_table: str) -> list[str]:
    """The definitions of the foreign keys in a SHOW CREATE TABLE."""
    return re.findall(r"^  (CONSTRAINT \S+ FOREIGN KEY .*?),?$", create_table, re.MULTILINE)
