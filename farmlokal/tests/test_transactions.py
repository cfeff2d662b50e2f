"""Functions with atomic_with_retry that call each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.transaction import TransactionManagementError

from dev.testing.databases import statements_sent
from farmlokal.mysql.errors import DEADLOCK
from farmlokal.mysql.transactions import atomic_with_retry

pytestmark = pytest.mark.usefixtures("live_database")


def read() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@atomic_with_retry
def call(*functions: Callable[[], object]) -> None:
    for function in functions:
        function()


def fail() -> None:
    raise ValueError


def test_nested_function_needs_no_savepoint() -> None:
    # BEGIN; SELECT; COMMIT
    assert statements_sent(lambda: call(lambda: call(read))) == 3


@pytest.mark.parametrize("later", [[], [read]])
def test_caught_error_of_a_nested_function_is_raised_later(later: list[Callable[[], object]]) -> None:
    """Otherwise the caller would not know that nothing was saved."""

    def catch() -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            call(fail)

    with pytest.raises(TransactionManagementError):
        call(catch, *later)


def test_error_inside_another_transaction_rolls_back_to_a_savepoint() -> None:
    with transaction.atomic():
        with pytest.raises(ValueError):  # noqa: PT011
            call(fail)
        read()


def test_deadlock_in_a_nested_function_restarts_the_whole() -> None:
    calls: list[str] = []

    def deadlock_once() -> None:
        calls.append("inner")
        if len(calls) == 2:
            raise OperationalError(DEADLOCK, "Deadlock found when trying to get lock; try restarting transaction")

    call(lambda: calls.append("outer"), lambda: call(deadlock_once))
    assert calls == ["outer", "inner"] * 2


def test_connection_killed_in_a_nested_function_restarts_the_whole() -> None:
    calls: list[str] = []

    def kill_once() -> None:
        calls.append("inner")
        if len(calls) == 2:
            other = connections.create_connection("default")
            with other.cursor() as cursor:
                cursor.execute("KILL %s", [connection.connection.thread_id()])
            other.close()
        read()

    call(lambda: calls.append("outer"), lambda: call(kill_once))
    assert calls == ["outer", "inner"] * 2
