"""How migrations create tables."""

from __future__ import annotations

from django.db.backends.mysql import schema


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    # Columns without a collation of their own take the table's. The default of the database may be latin1.
    sql_create_table = (
        f"{schema.DatabaseSchemaEditor.sql_create_table} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
    )
