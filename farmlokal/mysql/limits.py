"""Time limits of the processes that serve: the service and the worker of jobs."""

from __future__ import annotations

from django.db import connections

from farmlokal.mysql.watchdog import Watchdog

ANSWER_TIMEOUT_SECONDS = 3
STATEMENT_SECONDS = 2


def limit_waits() -> None:
    """Call it before the first connection.

    The server ends a statement that runs, or waits for a lock, too long. The process stops waiting for a silent server.
    Other commands have no such limits: migrations and bulk loads take long.
    """
    Watchdog.is_on = True
    for database in connections.settings.values():
        database["OPTIONS"] |= {
            # MariaDB executes /*M! comments, MySQL /*!80000.
            "init_command": f"SET innodb_lock_wait_timeout = {STATEMENT_SECONDS}"
            f" /*M! , max_statement_time = {STATEMENT_SECONDS} */"
            f" /*!80000 , max_execution_time = {STATEMENT_SECONDS * 1000} */",
            "read_timeout": ANSWER_TIMEOUT_SECONDS,
            "write_timeout": ANSWER_TIMEOUT_SECONDS,
        }
