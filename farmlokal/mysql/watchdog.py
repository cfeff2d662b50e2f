"""Notices a silent MySQL (frozen, or behind a broken network) sooner than a read times out.

A statement may take up to two seconds, but a request should not wait that long for a dead server. So when an answer is
late, a thread tries to log in. If the server answers neither that login nor any other statement, all waiting
statements end, and later ones fail at once until a login succeeds. Only the service and run_jobs do this (limits.py):
other commands wait.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import MySQLdb
import structlog
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import NO_DB_ALIAS

from farmlokal.mysql.driver import TLS_ERROR, connect

LOOK_SECONDS = 0.1
LATE_SECONDS = 0.2
LOGIN_SECONDS = 1  # the driver knows whole seconds only; also the connect_timeout of requests
SILENT = (2003, "MySQL does not answer.")
FIRST_CLIENT_ERROR = 2000  # the driver reports these itself; lower numbers are answers of the server

logger = structlog.get_logger(__name__)


def variable_of(alias: str) -> str:
    return "DATABASE_URL" if alias == DEFAULT_DB_ALIAS else "DATABASE_REPLICA_URL"


class Wait(NamedTuple):
    since: float
    descriptor: int | None  # of the socket; None while the thread still connects


class Watchdog:
    """Of the server, or the address, behind one of Django's databases."""

    is_on = False

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.is_away = False
        self.left_at = 0.0  # connections opened before lead to a server that takes no writes
        self._answered_at = 0.0
        self._waits: dict[int, Wait] = {}  # by thread
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watch(self, connection: Any = None) -> Iterator[None]:
        """Surround a wait for MySQL. Raise OperationalError while MySQL is silent."""
        if self.is_away:
            raise OperationalError(*SILENT)
        if not self.is_on:
            yield
            return
        self._start()
        thread = threading.get_ident()
        self._waits[thread] = Wait(time.monotonic(), connection and connection.fileno())
        try:
            yield
            self._answered_at = time.monotonic()
        finally:
            with self._lock:  # no socket is shut down after its statement has ended
                del self._waits[thread]

    def connect(self, parameters: Mapping[str, Any]) -> Any:
        began = time.monotonic()
        try:
            with self.watch():
                return connect(parameters, variable=variable_of(self._alias))
        except MySQLdb.OperationalError:
            if self.is_on and time.monotonic() - began >= LOGIN_SECONDS:
                self._judge(began, is_answering=False)
            raise

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"{self._alias}-watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if self.is_away or any(now - wait.since > LATE_SECONDS for wait in list(self._waits.values())):
                self._judge(now, is_answering=_can_log_in(self._alias))

    def _judge(self, asked_at: float, *, is_answering: bool) -> None:
        """On a busy machine a login is slow. If other threads get answers, MySQL is not silent."""
        is_away = not is_answering and self._answered_at < asked_at
        if is_away != self.is_away:
            logger.warning("mysql_silent" if is_away else "mysql_answers", database=self._alias)
        self.is_away = is_away
        if is_away:
            self._end_waits(asked_at)

    def _end_waits(self, before: float) -> None:
        with self._lock:
            for wait in self._waits.values():
                if wait.descriptor is not None and wait.since < before:
                    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(wait.descriptor)) as waiting:
                        waiting.shutdown(socket.SHUT_RDWR)


def _can_log_in(alias: str) -> bool:
    """Any answer counts: too many connections, a wrong password, a failed TLS handshake."""
    parameters = connections[alias].get_connection_params()
    parameters.pop("init_command", None)
    try:
        with contextlib.closing(connect(parameters, LOGIN_SECONDS)) as probe:
            probe.query("SELECT 1")
            probe.store_result()
    except MySQLdb.Error as error:
        return bool(error.args) and (0 < error.args[0] < FIRST_CLIENT_ERROR or error.args[0] == TLS_ERROR)
    return True


@cache
def watchdog_of(alias: str) -> Watchdog:
    if alias == NO_DB_ALIAS:  # Django creates the tests' databases over it
        return watchdog_of(DEFAULT_DB_ALIAS)
    return Watchdog(alias)
