"""A connection to MySQL is checked before use, without a round trip as a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from dev.testing.waiting import wait_until
from farmlokal.mysql import base

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture
def used() -> Iterator[Any]:
    """A connection as it is between two requests, with a thread id."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
    yield connection
    connection.close()


def value(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[-1]


def pings() -> int:
    return int(value("SHOW SESSION STATUS LIKE 'Com_admin_commands'"))


def test_used_connection_is_not_pinged(used: Any) -> None:
    before = pings()
    assert all(used.is_usable() for _ in range(5))
    assert pings() == before


@pytest.mark.parametrize("doubt", ["idle", "after an error"])
def test_doubtful_connection_is_pinged(used: Any, doubt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pings()
    if doubt == "idle":
        monkeypatch.setattr(base, "IDLE_SECONDS", -1)
    used.errors_occurred = doubt != "idle"
    assert used.is_usable()
    used.errors_occurred = False
    assert pings() == before + 1


def test_connection_closed_by_the_server_is_replaced(used: Any) -> None:
    """As after a restart of MySQL, or its wait_timeout."""
    first = value("SELECT CONNECTION_ID()")
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("KILL %s", [first])
    other.close()
    wait_until(lambda: not used.is_usable())
    used.health_check_enabled, used.health_check_done = True, False
    assert value("SELECT CONNECTION_ID()") != first
