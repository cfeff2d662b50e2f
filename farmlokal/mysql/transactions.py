"""A transaction that runs again after a deadlock."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

from farmlokal.mysql.errors import DEADLOCK

P = ParamSpec("P")
T = TypeVar("T")

DEADLOCK_RETRIES = 2


def atomic_with_retry(work: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function to run in one transaction, and to run again after a deadlock.

    Inside another transaction it is a savepoint and does not run again: the server has rolled back everything.
    """
    attempt = transaction.atomic(work)

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(DEADLOCK_RETRIES):
            try:
                return attempt(*args, **kwargs)
            except OperationalError as error:
                if error.args[0] != DEADLOCK or connection.in_atomic_block:
                    raise
        return attempt(*args, **kwargs)

    return run
