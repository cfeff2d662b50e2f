"""Replaces whole tables: new ones are loaded beside the old ones, and are renamed together.

They get their keys last, which is fast. On Galera they get them first, because adding them to many rows would stop all
writes of the cluster. A crash before the renaming leaves the old tables unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import MySQLdb
from MySQLdb.connections import Connection

from farmlokal.mysql.errors import LOCK_WAIT_TIMEOUT
from products.seeding import bulk_loader

BUSY = "MySQL still works on a table of a load that was killed. Try again when SHOW PROCESSLIST no longer shows it."


class Replacement:
    """New tables for old ones, given parents before children.

    token: in the names of the new tables, so that a load that lost its lease never touches those of the next.
    """

    def __init__(self, raw: Connection, tables: Sequence[str], token: str, *, keys_first: bool) -> None:
        self.raw = raw
        self.tables = tables
        self.token = token
        self.keys_first = keys_first
        self.keys: dict[str, list[str]] = {}

    def new(self, table: str) -> str:
        return f"{table}__new_{self.token}"

    def old(self, table: str) -> str:
        return f"{table}__old_{self.token}"

    def __enter__(self) -> Replacement:
        """Create the new tables, empty, and without their keys unless keys_first."""
        self._refuse_foreign_references()
        self._drop_leftovers()
        for table in self.tables:
            new = self.new(table)
            ((_, definition),) = bulk_loader.execute(self.raw, f"SHOW CREATE TABLE `{table}`")
            keys = secondary_keys(definition)
            foreign = [self._renamed(table, key) for key in foreign_keys(definition)]
            bulk_loader.execute(self.raw, f"CREATE TABLE `{new}` LIKE `{table}`")
            if self.keys_first:
                self._alter(self.raw, table, "ADD", foreign)
            else:
                self.keys[table] = [*keys.values(), *foreign]
                self._alter(self.raw, table, "DROP KEY", [f"`{name}`" for name in keys])
        return self

    def __exit__(self, *_: object) -> None:
        for table in reversed(self.tables):
            self._drop(self.new(table), self.old(table))

    def add_keys(self, table: str, raw: Connection) -> None:
        """Add all keys in one statement, and then the statistics for the optimizer."""
        self._alter(raw, table, "ADD", self.keys[table])
        self.analyze(table, raw)

    def analyze(self, table: str, raw: Connection) -> None:
        bulk_loader.execute(raw, f"ANALYZE TABLE `{self.new(table)}`")

    def _alter(self, raw: Connection, table: str, verb: str, parts: Sequence[str]) -> None:
        if parts:
            sql = ", ".join(f"{verb} {part}" for part in parts)
            bulk_loader.execute(raw, f"ALTER TABLE `{self.new(table)}` {sql}")

    def swap(self) -> None:
        """Put all new tables in place at once."""
        renames = [f"`{t}` TO `{self.old(t)}`, `{self.new(t)}` TO `{t}`" for t in self.tables]
        # With checks on, foreign keys follow the renamed parent table.
        bulk_loader.execute(self.raw, "SET foreign_key_checks = 1")
        bulk_loader.execute(self.raw, f"RENAME TABLE {', '.join(renames)}")
        bulk_loader.execute(self.raw, "SET foreign_key_checks = 0")

    def _renamed(self, table: str, foreign_key: str) -> str:
        """The foreign key for the new table.

        Names of foreign keys are unique in a database, so two names alternate. It refers to the new parent, which
        gets the old parent's name in the swap.
        """
        pattern = r"CONSTRAINT `(\w+)` FOREIGN KEY \(`(\w+)`\) REFERENCES `(\w+)`(.*)"
        name, column, parent, rest = re.findall(pattern, foreign_key)[0]
        name = f"{table}_{column}_fk_{'b' if name.endswith('_fk_a') else 'a'}"
        parent = self.new(parent) if parent in self.tables else parent
        return f"CONSTRAINT `{name}` FOREIGN KEY (`{column}`) REFERENCES `{parent}`{rest}"

    def _refuse_foreign_references(self) -> None:
        """A foreign key of another table would follow the old table, and dangle once that is dropped."""
        sql = (
            "SELECT table_name, referenced_table_name FROM information_schema.key_column_usage"
            " WHERE referenced_table_schema = DATABASE()"
        )
        for table, referenced in bulk_loader.execute(self.raw, sql):
            if referenced in self.tables and _replaced(table) not in self.tables:
                raise bulk_loader.LoadError(f"{table} refers to {referenced}, which cannot be replaced without it.")

    def _drop_leftovers(self) -> None:
        """Of loads that were killed. Only the holder of the lease may do it."""
        names = [name for (name,) in bulk_loader.execute(self.raw, "SHOW TABLES")]
        try:
            for table in reversed(self.tables):
                self._drop(*(name for name in names if name != table and _replaced(name) == table))
        except MySQLdb.OperationalError as error:
            if error.args[0] == LOCK_WAIT_TIMEOUT:
                raise bulk_loader.LoadError(BUSY) from error
            raise

    def _drop(self, *names: str) -> None:
        if names:
            bulk_loader.execute(self.raw, f"DROP TABLE IF EXISTS {', '.join(f'`{name}`' for name in names)}")


def _replaced(name: str) -> str:
    """products_farm for products_farm__new_5d41402a"""
    return re.sub("__(new|old)(_[0-9a-f]+)?$", "", name)


def secondary_keys(create_table: str) -> dict[str, str]:
    """name -> definition for ALTER TABLE … ADD, from a SHOW CREATE TABLE."""
    keys = re.findall(r"^  ((?:UNIQUE |FULLTEXT )?KEY `(\w+)` .*?),?$", create_table, re.MULTILINE)
    return {name: definition for definition, name in keys}


def foreign_keys(create_table: str) -> list[str]:
    """Definitions for ALTER TABLE … ADD, from a SHOW CREATE TABLE."""
    return re.findall(r"^  (CONSTRAINT \S+ FOREIGN KEY .*?),?$", create_table, re.MULTILINE)
