"""Transactions that run again where that is safe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

from farmlokal.mysql.errors import is_deadlock, is_lost, is_wrong_server

P = ParamSpec("P")
T = TypeVar("T")

RETRIES = 2


class _Atomic(transaction.Atomic):
    """A block of atomic_with_retry. Its functions can tell it from others, such as those of the admin and of tests."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        is_lost = exc_type is None and connection.needs_rollback
        super().__exit__(exc_type, exc_value, traceback)
        if is_lost:  # Django rolls back without a word
            raise transaction.TransactionManagementError("An error of a nested function was caught. Nothing is saved.")


def atomic_with_retry(work: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function to run in one transaction, and to run again if the server has rolled that back.

    That is so after a deadlock, after a conflict with another Galera node at the commit, and if the connection was lost
    before the commit was sent. The loss of a connection during the commit is raised: its outcome is unknown.

    Inside another such function it joins that transaction, without a savepoint: an error rolls back both, even if you
    catch it. Inside any other transaction it uses a savepoint. Only the outermost call is retried, because a deadlock
    rolls back the whole transaction.
    """
    return _retried(work, finds_out=False)


def atomic_once(work: Callable[P, T]) -> Callable[P, T]:
    """Like atomic_with_retry, for work that finds what an earlier run has committed, and then changes nothing.

    So it also runs again if the connection was lost during the commit.
    """
    return _retried(work, finds_out=True)


def _retried(work: Callable[P, T], *, finds_out: bool) -> Callable[P, T]:
    whole = _Atomic(using=None, savepoint=True, durable=False)(work)
    part = _Atomic(using=None, savepoint=False, durable=False)(work)

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if any(isinstance(block, _Atomic) for block in connection.atomic_blocks):
            return part(*args, **kwargs)
        for _ in range(RETRIES):
            connection.has_sent_commit = False  # type: ignore[attr-defined]  # farmlokal.mysql
            try:
                return whole(*args, **kwargs)
            except OperationalError as error:
                if connection.in_atomic_block or not _may_repeat(error, finds_out=finds_out):
                    raise
                if not is_deadlock(error):
                    connection.close()
        return whole(*args, **kwargs)

    return run


def _may_repeat(error: OperationalError, *, finds_out: bool) -> bool:
    is_undecided = connection.has_sent_commit and not is_wrong_server(error)  # type: ignore[attr-defined]
    return is_deadlock(error) or (is_lost(error) and (finds_out or not is_undecided))
