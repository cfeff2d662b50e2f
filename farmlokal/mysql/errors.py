"""Error numbers of MySQL and MariaDB, and which errors are temporary."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from farmlokal.mysql.driver import ConnectError

DEADLOCK = 1213
LOCK_WAIT_TIMEOUT = 1205
ROW_IS_LOCKED = {LOCK_WAIT_TIMEOUT, 3572}  # by NOWAIT; LOCK_WAIT_TIMEOUT on MariaDB
TOO_MANY_CONNECTIONS = {1040, 1203}
# No connection (broken, refused or too many), shutting down, starting, disk full, interrupted. Other operational
# errors, such as a missing column, are bugs of ours.
UNAVAILABLE = {0, 1021, 1030, 1040, 1042, 1044, 1045, 1053, 1114, 1129, 1130, 1203, 1206, 1226, 1317}
UNAVAILABLE |= {1927, 2002, 2003, 2005, 2006, 2012, 2013, 2026, 2055, 4031}
# This server answers, but takes no writes, or nothing at all: it is read-only (four kinds), a Galera node without a
# majority, or offline. After a failover, another server behind the same address does.
WRONG_SERVER = {1290, 1792, 1836, 1874, 1047, 3032}
# The connection is lost or refused, or of no use. 1180 is a Galera node that loses the others during a commit.
LOST = WRONG_SERVER | {1053, 1180, 1927, 2002, 2003, 2006, 2013, 2055, 4031}
UNAVAILABLE |= LOST
ABORTED = {DEADLOCK, 1969, 3024, *ROW_IS_LOCKED}  # also: statement time limit


def is_unavailable(error: BaseException | None) -> bool:
    return _number_of(error) in UNAVAILABLE or isinstance(getattr(error, "__cause__", None), ConnectError)


def is_wrong_server(error: BaseException | None) -> bool:
    """The server works, but not for us: a new connection may lead to another one."""
    return _number_of(error) in WRONG_SERVER


def is_lost(error: BaseException | None) -> bool:
    """The server rolls the connection's transaction back, unless it got the COMMIT."""
    return _number_of(error) in LOST


def is_deadlock(error: BaseException | None) -> bool:
    """The transaction was rolled back; on Galera perhaps at its commit, since another node has changed the same row."""
    return _number_of(error) == DEADLOCK


def is_aborted(error: BaseException | None) -> bool:
    """The statement took too long, most often waiting for a lock, or it lost a deadlock."""
    return _number_of(error) in ABORTED


def is_transient(error: BaseException | None) -> bool:
    """Another attempt may succeed."""
    return is_unavailable(error) or is_aborted(error)


def _number_of(error: BaseException | None) -> object:
    return error.args[0] if isinstance(error, OperationalError | InterfaceError) and error.args else None
