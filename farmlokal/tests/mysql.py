"""What the server of the tests says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable


def is_running(statement: str) -> bool:
    """Whether somebody's statement that contains this is at work, or waits for a lock, in the database of the tests."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW FULL PROCESSLIST")
        columns = [column[0] for column in cursor.description]
        processes = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    ours = (one for one in processes if one["db"] == connection.settings_dict["NAME"])
    return any(statement in (one["Info"] or "") for one in ours)


def rows_read(work: Callable[[], object]) -> int:
    """For this connection, by the server's own count; what asking costs is taken off."""
    before = _handler_reads()
    asking = _handler_reads() - before
    start = _handler_reads()
    work()
    return _handler_reads() - start - asking


def _handler_reads() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())
