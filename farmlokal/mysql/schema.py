"""Django's schema editor, for tables that the service reads and writes meanwhile, and for our rules for tables."""

from __future__ import annotations

import re
import time
from typing import Any, NoReturn

import structlog
from django.db import DatabaseError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.backends.mysql import schema

from farmlokal.mysql.errors import DEADLOCK, LOCK_WAIT_TIMEOUT

DEFINITION = re.compile(r"(ALTER|CREATE|DROP|RENAME) ")
CHANGED_TABLE = re.compile(r"ALTER TABLE (?P<altered>\S+) |CREATE (?:UNIQUE )?INDEX \S+ ON (?P<indexed>\S+) ")
# While a change of a table waits for a transaction, all later statements on that table wait behind it. So each attempt
# waits briefly, and pauses between attempts let these statements run.
WAIT_SECONDS = 1
PAUSE_SECONDS = 2
ATTEMPTS = 30
NO_SUCH_TABLE = 1146
REFUSED = {1845, 1846}  # LOCK=NONE
# The statement creates something that exists, or drops something that does not.
TABLE_EXISTS, INDEX_EXISTS = 1050, 1061
DONE = {TABLE_EXISTS, INDEX_EXISTS, 1060, 1091, 1826}
DUPLICATE_FOREIGN_KEY = "errno: 121"  # MariaDB's, with number 1005

logger = structlog.get_logger(__name__)


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    # Columns inherit the table's character set. The default of the database may be latin1.
    sql_create_table = (
        f"{schema.DatabaseSchemaEditor.sql_create_table} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
    )
    sql_delete_index = "ALTER TABLE %(table)s DROP INDEX %(name)s"  # MariaDB's DROP INDEX knows no LOCK
    may_lock = False

    def _field_should_be_indexed(self, model: Any, field: Any) -> bool:
        """Index a foreign key without a constraint, since MySQL creates the index only with the constraint."""
        is_unconstrained = field.remote_field and not self.connection.features.supports_foreign_keys
        editor: Any = BaseDatabaseSchemaEditor if is_unconstrained else schema.DatabaseSchemaEditor
        return bool(editor._field_should_be_indexed(self, model, field))

    def create_model(self, model: Any) -> None:
        """Keep the table of a migration that was killed halfway, but refuse another table of this name."""
        super().create_model(model)
        if self.collect_sql:
            return
        table = model._meta.db_table
        with self.connection.cursor() as cursor:
            found = {column.name for column in self.connection.introspection.get_table_description(cursor, table)}
        if found != {field.column for field in model._meta.local_concrete_fields}:
            raise DatabaseError(TABLE_EXISTS, f"Table {table} exists with other columns. Rename or drop it.")

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run a statement. If it changes a table, never lock out its readers and writers for more than WAIT_SECONDS.

        A change that an earlier, killed migration has already made counts as done, so that migration can run again.
        """
        if self.collect_sql or not DEFINITION.match(str(sql)):
            super().execute(sql, params)
            return
        text = str(sql) if self.may_lock else self._without_lock(str(sql))
        try:
            self._attempt(text, params)
        except DatabaseError as error:
            if error.args[0] in REFUSED:
                _refuse(text, error)
            if not self._is_done(sql, error):
                raise
            logger.warning("migration_resumed", statement=text, reason=error.args[1])

    def _without_lock(self, text: str) -> str:
        """Make the server refuse to copy or lock a table with rows. It may copy an empty one, which takes no time."""
        match = CHANGED_TABLE.match(text)
        if not match or "LOCK=" in text or self._is_empty(match["altered"] or match["indexed"]):
            return text
        return f"{text.rstrip('; ')}{',' if match['altered'] else ''} LOCK=NONE"

    def _is_empty(self, table: str) -> bool:
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {table})")
            except DatabaseError as error:
                if error.args[0] == NO_SUCH_TABLE:
                    return True
                raise
            return not cursor.fetchone()[0]

    def _attempt(self, text: str, params: Any) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._run(text, params)
            except DatabaseError as error:
                if error.args[0] not in {LOCK_WAIT_TIMEOUT, DEADLOCK}:
                    raise
                if attempt == ATTEMPTS:
                    reason = (
                        f"A long transaction uses the table: gave up after {ATTEMPTS} attempts. End it (SHOW FULL"
                        f" PROCESSLIST shows it), and run migrate again. Statement: {text}"
                    )
                    raise DatabaseError(error.args[0], reason) from error
                logger.warning("migration_waits", statement=text, attempt=attempt)
                time.sleep(PAUSE_SECONDS)
            else:
                return

    def _run(self, text: str, params: Any) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET lock_wait_timeout = {WAIT_SECONDS}")
            try:
                super().execute(text, params)
            finally:
                cursor.execute("SET lock_wait_timeout = DEFAULT")

    def _is_done(self, sql: Any, error: DatabaseError) -> bool:
        number, reason = (*error.args, "")[:2]  # Django's own errors have a text only
        if number == INDEX_EXISTS:
            return isinstance(sql, Statement) and self._has_index(sql)
        return number in DONE or DUPLICATE_FOREIGN_KEY in str(reason)

    def _has_index(self, sql: Any) -> bool:
        """Whether the table has this index, or unique constraint, with the same columns."""
        with self.connection.cursor() as cursor:
            found = self.connection.introspection.get_constraints(cursor, sql.parts["table"].table)
        return bool(found[str(sql.parts["name"]).strip("`")]["columns"] == list(sql.parts["columns"].columns))


def _refuse(text: str, error: DatabaseError) -> NoReturn:
    reason = f'{error.args[1]} The change would stop writes. CONTRIBUTING.md, "Migrations", has other ways. {text}'
    raise DatabaseError(error.args[0], reason) from error
