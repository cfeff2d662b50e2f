"""A transaction that runs again after a deadlock."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

from farmlokal.mysql.errors import DEADLOCK

P = ParamSpec("P")
T = TypeVar("T")

DEADLOCK_RETRIES = 2


class _Atomic(transaction.Atomic):
    """A block of atomic_with_retry. Its functions can tell it from others, such as those of the admin and of tests."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        is_lost = exc_type is None and connection.needs_rollback
        super().__exit__(exc_type, exc_value, traceback)
        if is_lost:  # Django rolls back without a word
            raise transaction.TransactionManagementError("An error of a nested function was caught. Nothing is saved.")


def atomic_with_retry(work: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function to run in one transaction, and to run again after a deadlock.

    Inside another such function it joins that transaction, without a savepoint: an error rolls back both, even if you
    catch it. Inside any other transaction it uses a savepoint. Only the outermost call is retried, because a deadlock
    rolls back the whole transaction.
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
