"""Waiting in tests, with an end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_running(statement: str) -> bool:
    """Whether somebody's statement that contains this is at work, or waits for a lock, in the database of the tests."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW FULL PROCESSLIST")
        columns = [column[0] for column in cursor.description]
        processes = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    ours = (one for one in processes if one["db"] == connection.settings_dict["NAME"])
    return any(statement in (one["Info"] or "") for one in ours)
