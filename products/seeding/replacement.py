"""Replaces whole tables: new ones are loaded beside the old ones, get their keys last, and are renamed together.

A crash before the renaming leaves the old tables unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from MySQLdb.connections import Connection

from products.seeding import bulk_loader


class Replacement:
    """New tables for old ones, given parents before children."""

    def __init__(self, raw: Connection, tables: Sequence[str]) -> None:
        self.raw = raw
        self.tables = tables
        self.keys: dict[str, list[str]] = {}

    @staticmethod
    def new(table: str) -> str:
        return f"{table}__new"

    def __enter__(self) -> Replacement:
        """Create the new tables, empty and with their primary keys only."""
        self._refuse_foreign_references()
        self._drop_leftovers()
        for table in self.tables:
            new = self.new(table)
            ((_, definition),) = bulk_loader.execute(self.raw, f"SHOW CREATE TABLE `{table}`")
            keys = secondary_keys(definition)
            foreign = [self._renamed(table, key) for key in foreign_keys(definition)]
            self.keys[table] = [*keys.values(), *foreign]
            bulk_loader.execute(self.raw, f"CREATE TABLE `{new}` LIKE `{table}`")
            bulk_loader.execute(self.raw, f"ALTER TABLE `{new}` {', '.join(f'DROP KEY `{name}`' for name in keys)}")
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_leftovers()

    def add_keys(self, table: str, raw: Connection) -> None:
        """Add all keys in one statement, and then the statistics for the optimizer."""
        new = self.new(table)
        bulk_loader.execute(raw, f"ALTER TABLE `{new}` {', '.join(f'ADD {key}' for key in self.keys[table])}")
        bulk_loader.execute(raw, f"ANALYZE TABLE `{new}`")

    def swap(self) -> None:
        """Put all new tables in place at once."""
        renames = [f"`{t}` TO `{t}__old`, `{self.new(t)}` TO `{t}`" for t in self.tables]
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
            if referenced in self.tables and table.removesuffix("__new").removesuffix("__old") not in self.tables:
                raise bulk_loader.LoadError(f"{table} refers to {referenced}, which cannot be replaced without it.")

    def _drop_leftovers(self) -> None:
        for table in reversed(self.tables):
            bulk_loader.execute(self.raw, f"DROP TABLE IF EXISTS `{table}__new`, `{table}__old`")


def secondary_keys(create_table: str) -> dict[str, str]:
    """name -> definition for ALTER TABLE … ADD, from a SHOW CREATE TABLE."""
    keys = re.findall(r"^  ((?:UNIQUE |FULLTEXT )?KEY `(\w+)` .*?),?$", create_table, re.MULTILINE)
    return {name: definition for definition, name in keys}


def foreign_keys(create_table: str) -> list[str]:
    """Definitions for ALTER TABLE … ADD, from a SHOW CREATE TABLE."""
    return re.findall(r"^  (CONSTRAINT \S+ FOREIGN KEY .*?),?$", create_table, re.MULTILINE)
