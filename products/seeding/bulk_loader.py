"""Loads many rows fast: LOAD DATA LOCAL where server and client allow it, multi-row INSERT elsewhere.

A whole table is replaced by a new one that is loaded beside it, gets its keys last, and takes its
place in one RENAME TABLE: whoever dies on the way leaves the old table as it was.
"""

from __future__ import annotations

import hashlib
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

CHUNK_ROWS = 10_000  # by INSERT, too, well under the 20 seconds that PlanetScale gives a transaction
LOCK_WAIT_SECONDS = 30
SORT_BYTES = 128 * 1024 * 1024
SETTINGS = (
    f"lock_wait_timeout = {LOCK_WAIT_SECONDS}",
    "unique_checks = 0",
    "foreign_key_checks = 0",
    f"innodb_ddl_buffer_size = {SORT_BYTES}",  # MySQL alone has it, and sorts all keys of a table in 1 MB without
)
# "Local files are not allowed here" of MariaDB, MySQL and the client library; unknown variable; not supported.
UNAVAILABLE = {1148, 2068, 3948, 4166, 1193, 1235}
# Vitess also answers with its "unknown error".
UNKNOWN_ERROR = 1105
UNAVAILABLE_IN_VITESS = re.compile("direct DDL is disabled|not supported|unsupported|syntax error")


class LoadError(Exception):
    """The load cannot go on; the message says why."""


def is_unavailable(error: MySQLdb.Error) -> bool:
    """Whether the server does not offer the statement, so that another has to do."""
    code, *texts = error.args
    return code in UNAVAILABLE or (code == UNKNOWN_ERROR and bool(UNAVAILABLE_IN_VITESS.search(str(texts))))


@contextmanager
def connect() -> Iterator[Connection]:
    """A connection that may read local files, which the application's own may not."""
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


@contextmanager
def bulk_connection() -> Iterator[Connection]:
    """The connection of the one load that may run at a time; LoadError where there is one already."""
    with connect() as raw:
        if execute(raw, "SELECT GET_LOCK(%s, 0)", (lock_name(),)) != ((1,),):
            raise LoadError("another load is running.")
        yield raw


def lock_name() -> str:
    """Locks are the whole server's: the name is one database's, in at most 64 characters."""
    return f"bulkload {hashlib.sha256(connection.settings_dict['NAME'].encode()).hexdigest()[:40]}"


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
                if put is _insert_file or not is_unavailable(error):
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


def secondary_keys(create_table: str) -> dict[str, str]:
    """name -> definition, as ALTER TABLE … ADD takes it, of the keys in a SHOW CREATE TABLE."""
    keys = re.findall(r"^  ((?:UNIQUE |FULLTEXT )?KEY `(\w+)` .*?),?$", create_table, re.MULTILINE)
    return {name: definition for definition, name in keys}


def foreign_keys(create_table: str) -> list[str]:
    """The definitions of the foreign keys in a SHOW CREATE TABLE."""
    return re.findall(r"^  (CONSTRAINT \S+ FOREIGN KEY .*?),?$", create_table, re.MULTILINE)
