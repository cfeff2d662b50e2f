"""Django's MySQL backend with counted, watched statements and a hook around the commit.

Settings name this package as ENGINE; Django looks for `base.DatabaseWrapper` in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import MySQLdb
from django.db import OperationalError
from django.db.backends.mysql import base

from farmlokal.mysql.client import DatabaseClient
from farmlokal.mysql.features import DatabaseFeatures
from farmlokal.mysql.schema import DatabaseSchemaEditor
from farmlokal.mysql.watchdog import watchdog
from farmlokal.observability import request_costs


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    client_class = DatabaseClient
    features_class = DatabaseFeatures

    # Entered before the commit of the transaction that set it, and left after it. A rollback drops it.
    around_commit: Callable[[], contextlib.AbstractContextManager[None]] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(_counted_and_watched)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        return watchdog.connect(conn_params)

    def is_usable(self) -> bool:
        try:
            with watchdog.watch(self.connection):
                self.connection.ping()
        except (MySQLdb.Error, OperationalError):
            return False
        return True

    def _commit(self) -> None:
        around, self.around_commit = self.around_commit or contextlib.nullcontext, None
        with around(), watchdog.watch(self.connection):
            super()._commit()  # type: ignore[misc]  # the stubs leave it out

    def _rollback(self) -> None:
        self.around_commit = None
        super()._rollback()  # type: ignore[misc]


def _counted_and_watched(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    request_costs.current.statements += 1
    with watchdog.watch(context["connection"].connection):
        return execute(sql, params, many, context)
