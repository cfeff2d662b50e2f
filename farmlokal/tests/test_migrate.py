"""`migrate` beside a service that runs: it waits briefly, locks nothing, and can be killed and run again."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.transaction import TransactionManagementError

from dev.testing.databases import Database, is_on_galera, released_database
from dev.testing.waiting import wait_until
from farmlokal.management.commands.migrate import LOCK
from farmlokal.mysql import schema

pytestmark = pytest.mark.usefixtures("live_database")

# Ends `migrate` after each statement that changes the schema or records a migration, and starts it again.
KILLED_EVERYWHERE = """
from django.core.management import call_command
from django.db import connection

class Killed(BaseException):
    pass

def kill(execute, sql, params, many, context):
    result = execute(sql, params, many, context)
    if sql.startswith(("ALTER", "CREATE", "DROP", "INSERT INTO `django_migrations`")):
        raise Killed
    return result

kills = 0
while True:
    try:
        with connection.execute_wrapper(kill):
            call_command("migrate", verbosity=0)
        break
    except Killed:
        kills += 1
print(kills)
"""
NO_REDIS = "redis://192.0.2.1:6379/0"  # no host has this address


@pytest.fixture
def crate() -> Iterator[Any]:
    """A model of a table with one row."""
    fields: list[tuple[str, models.Field[Any, Any]]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("size", models.IntegerField()),
    ]
    state = ProjectState()
    state.add_model(ModelState("products", "crate", fields))
    model = state.apps.get_model("products", "crate")
    with connection.schema_editor() as editor:
        editor.create_model(model)
    model.objects.create(size=1)
    yield model
    with connection.schema_editor() as editor:
        editor.delete_model(model)


@pytest.fixture(scope="module")
def released(live_database: None) -> Iterator[Database]:
    """A database of the last release, for commands without a Redis."""
    with released_database(REDIS_URL=NO_REDIS) as database:
        yield database


def add(model: Any, field: Any, name: str = "colour") -> None:
    field.contribute_to_class(model, name)
    with connection.schema_editor() as editor:
        editor.add_field(model, field)


def columns(model: Any) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW COLUMNS FROM {model._meta.db_table}")
        return {row[0] for row in cursor.fetchall()}


def definitions(name: str) -> dict[str, str]:
    """Each table's definition without its next id, and without the names of foreign keys and the keys made for them.

    A seeded catalogue has other names of these.
    """
    database = Database(name, {})
    tables = [table for (table,) in database.rows("SHOW TABLES")]
    found = {table: str(database.rows(f"SHOW CREATE TABLE `{table}`")[0][1]) for table in tables}
    varying = r" AUTO_INCREMENT=\d+|CONSTRAINT `\w+`(?= FOREIGN KEY)|(?<=KEY )`\w+_fk_\w+`"
    return {table: re.sub(varying, "", sql) for table, sql in found.items()}


def test_column_is_added_to_a_table_with_rows(crate: Any) -> None:
    add(crate, models.CharField(max_length=10, db_default="red"))
    assert columns(crate) == {"id", "size", "colour"}


def test_change_that_copies_a_table_with_rows_is_refused(crate: Any) -> None:
    wide = models.BigIntegerField()
    wide.set_attributes_from_name("size")
    with pytest.raises(DatabaseError, match="would stop writes"), connection.schema_editor() as editor:
        editor.alter_field(crate, crate._meta.get_field("size"), wide)
    crate.objects.all().delete()
    with connection.schema_editor() as editor:  # an empty table may be copied
        editor.alter_field(crate, crate._meta.get_field("size"), wide)


def test_change_gives_way_to_others_while_a_transaction_runs(crate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_on_galera():
        pytest.skip("Galera ends the transaction instead")
    monkeypatch.setattr(schema, "ATTEMPTS", 3)
    monkeypatch.setattr(schema, "PAUSE_SECONDS", 0.2)
    errors: list[BaseException] = []

    def change() -> None:
        try:
            with closing(connection.copy()) as mine, mine.schema_editor() as editor:
                editor.add_index(crate, models.Index(fields=["size"], name="size"))
        except DatabaseError as error:
            errors.append(error)

    changing = threading.Thread(target=change)
    with closing(connection.copy()) as long, closing(connection.copy()) as reader:
        reader.cursor().execute("SET lock_wait_timeout = 20")
        long.set_autocommit(False)
        long.cursor().execute("SELECT * FROM products_crate")
        changing.start()
        times: list[float] = []
        while changing.is_alive() and sum(times) < 60:
            start = time.monotonic()
            reader.cursor().execute("SELECT * FROM products_crate")
            times.append(time.monotonic() - start)
        long.rollback()
    changing.join(30)
    assert 0.5 < max(times) < 10  # the reader waited for the change, but not for the transaction
    assert "gave up after 3 attempts" in str(errors[0])


def test_change_is_made_once_the_transaction_ends(crate: Any) -> None:
    with closing(connection.copy()) as long:
        long.set_autocommit(False)
        long.cursor().execute("SELECT * FROM products_crate")
        timer = threading.Timer(1.5, long.rollback)
        long.inc_thread_sharing()
        timer.start()
        add(crate, models.IntegerField(null=True))
        timer.join()
    assert columns(crate) == {"id", "size", "colour"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@lock_wait_timeout = @@GLOBAL.lock_wait_timeout")
        assert cursor.fetchone() == (1,)


def test_other_definition_of_an_existing_name_is_an_error(crate: Any) -> None:
    index, other = models.Index(fields=["size"], name="i"), models.Index(fields=["id", "size"], name="i")
    with connection.schema_editor() as editor:
        editor.add_index(crate, index)
        editor.add_index(crate, index)
    with pytest.raises(DatabaseError, match="Duplicate key name"), connection.schema_editor() as editor:
        editor.add_index(crate, other)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE products_crate ADD COLUMN colour INT")
    with pytest.raises(DatabaseError, match="other columns"), connection.schema_editor() as editor:
        editor.create_model(crate)


def test_error_of_django_itself_is_raised(crate: Any) -> None:
    editor = connection.schema_editor(atomic=False)
    with transaction.atomic(), pytest.raises(TransactionManagementError, match="DDL"):
        editor.execute(f"DROP TABLE {crate._meta.db_table}")


def test_second_migrate_waits_for_the_first(released: Database) -> None:
    assert released.rows(f"SELECT GET_LOCK({LOCK}, 0)") == ((1,),)
    command = [sys.executable, "manage.py", "migrate", "sessions"]
    with subprocess.Popen(command, env=released.environment, stderr=subprocess.PIPE, text=True) as second:
        try:
            assert second.stderr
            assert "Another migrate" in second.stderr.readline()
            time.sleep(1.5)
            assert second.poll() is None
            released.rows(f"SELECT RELEASE_LOCK({LOCK})")
            wait_until(lambda: second.poll() == 0)
        finally:
            second.kill()


def test_migrate_killed_after_any_statement_can_run_again(released: Database) -> None:
    kills = int(released.python(KILLED_EVERYWHERE).splitlines()[-1])
    assert kills > 30
    assert definitions(released.name) == definitions(connection.settings_dict["NAME"])
