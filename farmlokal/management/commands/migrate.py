"""manage.py migrate: Django's command, but only one of them at a time changes a database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.core.management.commands import migrate
from django.db import DatabaseError, connections

WAIT_SECONDS = 600
# A name of at most 64 characters: all databases of the server share the names.
LOCK = "SHA2(CONCAT('migrate ', DATABASE()), 224)"


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with _alone(connections[options["database"]], self.stderr):
            super().handle(*args, **options)


@contextlib.contextmanager
def _alone(connection: Any, stderr: OutputWrapper) -> Iterator[None]:
    """Hold a lock that the server ends with the connection. Some clusters have no such locks, or one for each node."""
    connection.ensure_connection()
    with connection.cursor() as cursor:
        try:
            is_free = _lock(cursor, 1)
        except DatabaseError as error:
            stderr.write(f"The server refuses GET_LOCK, so make sure that no other migrate runs: {error.args[-1]}")
            is_free = True
        if not is_free:
            stderr.write("Another migrate changes this database. Waiting for its end.")
            if not any(_lock(cursor, 1) for _ in range(WAIT_SECONDS)):  # short waits, so that Ctrl-C works
                raise CommandError(
                    f"Another migrate has run for over {WAIT_SECONDS} s. SHOW FULL PROCESSLIST shows its statement."
                )
        try:
            yield
        finally:
            with contextlib.suppress(DatabaseError):
                cursor.execute(f"DO RELEASE_LOCK({LOCK})")


def _lock(cursor: Any, seconds: int) -> bool:
    cursor.execute(f"SELECT GET_LOCK({LOCK}, {seconds})")
    return bool(cursor.fetchone()[0])
