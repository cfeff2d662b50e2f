from __future__ import annotations

from django.db import migrations

UTF8MB4 = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"


def convert_tables(apps, schema_editor):
    """Convert tables that took another character set from their database. Declared collations stay."""
    schema_editor.may_lock = True  # MySQL converts by copying. Part of 0.1.0, so it meets only small tables.
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        ours = {*connection.introspection.django_table_names(only_existing=True), "django_migrations"}
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_collation NOT LIKE 'utf8mb4%'"
        )
        for table in sorted(ours & {row[0] for row in cursor.fetchall()}):
            schema_editor.execute(f"ALTER TABLE `{table}` {', '.join(_changes(cursor, table))}")


def _changes(cursor, table):
    yield f"DEFAULT {UTF8MB4}"
    cursor.execute(
        "SELECT column_name, column_type, IF(is_nullable = 'YES', 'NULL', 'NOT NULL') FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = %s AND character_set_name <> 'utf8mb4'",
        [table],
    )
    for column, kind, null in cursor.fetchall():
        yield f"MODIFY `{column}` {kind} {UTF8MB4} {null}"


class Migration(migrations.Migration):
    dependencies = []

    operations = [migrations.RunPython(convert_tables, migrations.RunPython.noop, atomic=False)]
