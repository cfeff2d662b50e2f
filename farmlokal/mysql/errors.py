"""Error numbers of MySQL and MariaDB, and which errors are temporary."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from farmlokal.mysql.driver import ConnectError

DEADLOCK = 1213  # on Galera also: another node has changed the same row
LOCK_WAIT_TIMEOUT = 1205
ROW_IS_LOCKED = {LOCK_WAIT_TIMEOUT, 3572}  # by NOWAIT; LOCK_WAIT_TIMEOUT on MariaDB
TOO_MANY_CONNECTIONS = {1040, 1203}
# No connection (broken, refused or too many), shutting down, starting, disk full, interrupted. Other operational
# errors, such as a missing column, are bugs of ours.
UNAVAILABLE = {0, 1021, 1030, 1040, 1042, 1044, 1045, 1047, 1053, 1114, 1129, 1130, 1203, 1206, 1226, 1290, 1317}
UNAVAILABLE |= {1836, 1927, 2002, 2003, 2005, 2006, 2012, 2013, 2026, 2055, 3032, 4031}
ABORTED = {DEADLOCK, 1969, 3024, *ROW_IS_LOCKED}  # also: statement time limit


def is_unavailable(error: BaseException | None) -> bool:
    return _number_of(error) in UNAVAILABLE or isinstance(getattr(error, "__cause__", None), ConnectError)


def is_aborted(error: BaseException | None) -> bool:
    """The statement took too long, most often waiting for a lock, or it lost a deadlock."""
    return _number_of(error) in ABORTED


def is_transient(error: BaseException | None) -> bool:
    """Another attempt may succeed."""
    return is_unavailable(error) or is_aborted(error)


def _number_of(error: BaseException | None) -> object:
    return error.args[0] if isinstance(error, OperationalError | InterfaceError) and error.args else None
