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


class _Atomic(transaction.Atomic):
    """Tells our blocks from others, such as those of the admin and of tests."""


def atomic_with_retry(work: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function to run in one transaction, and to run again after a deadlock.

    Inside another such function it joins that one's transaction: an error rolls back both, also if it is caught. So
    it needs no savepoint. Inside any other transaction it is a savepoint. In neither case does it run again: after a
    deadlock the server has rolled back everything.
    """
    whole = _Atomic(using=None, savepoint=True, durable=False)(work)
    part = _Atomic(using=None, savepoint=False, durable=False)(work)

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if any(isinstance(block, _Atomic) for block in connection.atomic_blocks):
            return part(*args, **kwargs)
        for _ in range(DEADLOCK_RETRIES):
            try:
                return whole(*args, **kwargs)
            except OperationalError as error:
                if error.args[0] != DEADLOCK or connection.in_atomic_block:
                    raise
        return whole(*args, **kwargs)

    return run
