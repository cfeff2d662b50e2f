"""Django's MySQL backend with counted, watched statements, a hook around the commit, and our schema editor.

Settings name this package as ENGINE; Django looks for `base.DatabaseWrapper` in it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import MySQLdb
from django.conf import settings
from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.backends.mysql import base, client, features
from django.utils.functional import cached_property
from MySQLdb.constants import FIELD_TYPE

from farmlokal.mysql.errors import is_wrong_server
from farmlokal.mysql.galera import read_own_writes
from farmlokal.mysql.schema import DatabaseSchemaEditor
from farmlokal.mysql.watchdog import Watchdog, watchdog_of
from farmlokal.observability import request_costs, tracing

IDLE_SECONDS = 30


class DatabaseFeatures(features.DatabaseFeatures):
    @cached_property
    def supports_foreign_keys(self) -> bool:  # type: ignore[override]  # a constant in Django
        return bool(settings.DATABASE_FOREIGN_KEYS)


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell`, which runs the mysql or mariadb program instead of our driver."""

    @classmethod
    def settings_to_cmd_args_env(cls, settings_dict: dict[str, Any], parameters: Iterable[str]) -> Any:
        """Refuse if DATABASE_URL demands TLS: the programs differ in its options, and fall back to plain text."""
        if settings_dict["OPTIONS"]["ssl_mode"] != "DISABLED":
            raise CommandError(
                "dbshell cannot promise the TLS that DATABASE_URL asks for; run mysql --ssl-mode=VERIFY_IDENTITY "
                "or mariadb --ssl-verify-server-cert yourself"
            )
        return super().settings_to_cmd_args_env(settings_dict, parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    client_class = DatabaseClient
    features_class = DatabaseFeatures

    # Entered before the commit of the transaction that set it, and left after it. A rollback drops it.
    around_commit: Callable[[], contextlib.AbstractContextManager[None]] | None = None

    has_sent_commit = False  # since the caller set it to False; without an answer, its outcome is unknown

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(_counted_and_watched)
        if tracing.is_on():
            self.execute_wrappers.append(_traced)
        self._used_at = self._opened_at = 0.0
        self._watchdog = watchdog_of(self.alias)
        self.reached_generation = ""  # of the page cache, if this server is a replica

    def get_connection_params(self) -> dict[str, Any]:
        """With a converter in C for the two moments of each product; mysqlclient's own is written in Python."""
        parameters: dict[str, Any] = super().get_connection_params()
        return {**parameters, "conv": parameters["conv"] | {FIELD_TYPE.DATETIME: dt.datetime.fromisoformat}}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.reached_generation = ""  # the same address may lead to another server
        self._opened_at = time.monotonic()
        connection = self._watchdog.connect(conn_params)
        if Watchdog.is_on:
            with self._watchdog.watch(connection):
                read_own_writes(connection)
        return connection

    def is_usable(self) -> bool:
        """Django's health check, mostly without a round trip: the socket of a connection that was closed is readable.

        It pings only after an error, or after IDLE_SECONDS, when a firewall may have dropped the connection.
        After a failover, a connection may lead to the old primary, which takes no writes. When one statement of this
        process has found that, all connections to the address are replaced.
        """
        is_idle = time.monotonic() - self._used_at > IDLE_SECONDS
        try:
            if self._opened_at <= self._watchdog.left_at or self._has_unread_bytes():
                return False
            if is_idle or self.errors_occurred:
                with self._watchdog.watch(self.connection):
                    self.connection.ping()
        except (MySQLdb.Error, OperationalError):
            return False
        return True

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Surround a wait for the server."""
        try:
            with self._watchdog.watch(self.connection):
                yield
        except OperationalError as error:
            if is_wrong_server(error):
                self._watchdog.left_at = time.monotonic()
            raise

    def _has_unread_bytes(self) -> bool:
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _start_transaction_under_autocommit(self) -> None:
        """One statement for each transaction, where Django's backend turns autocommit off, and on again at its end."""
        with self._watched(), self.wrap_database_errors:
            self.connection.query("BEGIN")

    def _commit(self) -> None:
        around, self.around_commit = self.around_commit or contextlib.nullcontext, None
        with around(), self._watched():
            self.has_sent_commit = True
            super()._commit()  # type: ignore[misc]  # the stubs leave it out

    def _rollback(self) -> None:
        self.around_commit = None
        super()._rollback()  # type: ignore[misc]


def _counted_and_watched(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    request_costs.current.statements += 1
    wrapper = context["connection"]
    wrapper._used_at = time.monotonic()
    with wrapper._watched():
        return execute(sql, params, many, context)


def _traced(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    with tracing.sql_span(sql, context["connection"].settings_dict["NAME"]):
        return execute(sql, params, many, context)
