"""How migrations create tables."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.mysql import schema


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    # Columns inherit the table's character set. The default of the database may be latin1.
    sql_create_table = (
        f"{schema.DatabaseSchemaEditor.sql_create_table} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
    )

    def _field_should_be_indexed(self, model: Any, field: Any) -> bool:
        """Index a foreign key without a constraint, since MySQL creates the index only with the constraint."""
        is_unconstrained = field.remote_field and not self.connection.features.supports_foreign_keys
        editor: Any = BaseDatabaseSchemaEditor if is_unconstrained else schema.DatabaseSchemaEditor
        return bool(editor._field_should_be_indexed(self, model, field))
