"""Notices a MySQL that has gone silent (frozen, or behind a broken network) long before a read times out.

A statement may take its two seconds. But when one has run for a moment, a probe logs in beside it; where neither that
nor any other statement gets an answer, the server is away: the statements that wait for it end now, as if it had hung
up, and later ones fail at once, until a probe is answered. Only for a service (wsgi.py): a migration takes as long as
it takes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import MySQLdb
import structlog
from django.db import OperationalError, connections

from farmlokal.mysql.driver import TLS_ERROR, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

LOOK_SECONDS = 0.1
SUSPICIOUS_SECONDS = 0.3
PROBE_SECONDS = 0.4
CONNECT_SECONDS = 0.5  # the driver knows whole seconds only
MAX_CONNECTING = 32
SILENT = (2003, "MySQL does not answer.")
FIRST_CLIENT_ERROR = 2000  # what the driver itself reports; a lower number is an answer of the server

logger = structlog.get_logger(__name__)


class Watch:
    def __init__(self) -> None:
        self.is_on = False
        self.is_away = False
        self._lock = threading.Lock()
        self._answered_at = 0.0
        self._running: dict[int, tuple[float, int]] = {}  # thread -> since when it waits, for which socket
        self._probes = ThreadPoolExecutor(1, "mysql-probe")
        self._probe: Future[bool] | None = None
        self._connects = ThreadPoolExecutor(MAX_CONNECTING, "mysql-connect")
        self._watcher: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        """Threads do not survive a fork."""
        self._lock, self._running, self._watcher = threading.Lock(), {}, None
        self._probes, self._probe = ThreadPoolExecutor(1, "mysql-probe"), None
        self._connects = ThreadPoolExecutor(MAX_CONNECTING, "mysql-connect")

    def check(self) -> None:
        if self.is_away:
            raise OperationalError(*SILENT)

    def connected(self, connect: Callable[[dict[str, Any]], Any], parameters: dict[str, Any]) -> Any:
        """A new connection. What it waits for has no socket yet that could be shut down: it is left to itself."""
        self.check()
        if not self.is_on:
            return connect(parameters)
        if self._watcher is None:
            self._start()
        asked_at = time.monotonic()
        connecting = self._connects.submit(connect, parameters)
        try:
            return connecting.result(CONNECT_SECONDS)
        except TimeoutError:
            connecting.add_done_callback(_close)
            if self._answered_at < asked_at:
                self._note(is_away=True)  # until a probe is answered
            raise OperationalError(*SILENT) from None

    @contextlib.contextmanager
    def over(self, connection: Any) -> Iterator[None]:
        """Around whatever waits for an answer on this connection of the driver."""
        self.check()
        if connection is None or not self.is_on:
            yield
            return
        if self._watcher is None:
            self._start()
        thread = threading.get_ident()
        self._running[thread] = (time.monotonic(), connection.fileno())
        try:
            yield
            self._answered_at = time.monotonic()
        finally:
            with self._lock:  # so that no socket is shut down after its statement has ended
                self._running.pop(thread, None)

    def _start(self) -> None:
        with self._lock:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._look, name="mysql-watch", daemon=True)
                self._watcher.start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            started = [since for since, _ in list(self._running.values())]
            if self.is_away or (started and time.monotonic() - min(started) > SUSPICIOUS_SECONDS):
                asked_at = time.monotonic()
                # On a busy machine a probe is slow; where others get answers, that is all.
                self._note(is_away=not self._is_answering() and self._answered_at < asked_at)
                if self.is_away:
                    self._hang_up(asked_at)

    def _note(self, *, is_away: bool) -> None:
        if is_away != self.is_away:
            logger.warning("mysql_silent" if is_away else "mysql_answers")
        self.is_away = is_away

    def _is_answering(self) -> bool:
        """One probe at a time: one that hangs stands for the next ones too."""
        if self._probe is None:
            self._probe = self._probes.submit(_log_in)
        try:
            answered = self._probe.result(PROBE_SECONDS)
        except TimeoutError:
            return False
        self._probe = None
        return answered

    def _hang_up(self, before: float) -> None:
        with self._lock:
            for since, descriptor in self._running.values():
                if since < before:
                    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as waiting:
                        waiting.shutdown(socket.SHUT_RDWR)


def _close(connecting: Future[Any]) -> None:
    if not connecting.exception():
        connecting.result().close()


def _log_in() -> bool:
    """Whether the server says anything at all: that it is full, or that the password is wrong, is an answer."""
    limits = dict.fromkeys(["connect_timeout", "read_timeout", "write_timeout"], 1)
    parameters = {**connections["default"].get_connection_params(), **limits}
    parameters.pop("init_command", None)
    try:
        with contextlib.closing(connect(parameters)) as probe:
            probe.query("SELECT 1")
            probe.store_result()
    except MySQLdb.Error as error:
        # A failed TLS handshake is an answer, too.
        return bool(error.args) and (0 < error.args[0] < FIRST_CLIENT_ERROR or error.args[0] == TLS_ERROR)
    return True


watch = Watch()
