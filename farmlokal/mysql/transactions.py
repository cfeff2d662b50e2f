"""A transaction that is started anew where it lost a deadlock; and rows that somebody else has locked."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

DEADLOCK = 1213  # on Galera also: another node has changed the same row
DEADLOCK_RETRIES = 2
ROW_IS_LOCKED = {1205, 3572}  # after a wait or with NOWAIT on MariaDB, with NOWAIT on MySQL


def atomic_with_retry(work: Callable[P, T]) -> Callable[P, T]:
    """A decorator: one transaction, started anew where it lost a deadlock. Inside another it is a savepoint,
    and the outermost is the one to start anew: the server has rolled back all of it."""
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
