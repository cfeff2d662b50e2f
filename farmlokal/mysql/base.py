"""Django's MySQL backend with statements that are counted and watched, and a word before and after a commit.

Named in settings as ENGINE; `base` and `DatabaseWrapper` are the names that Django looks for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from django.db import OperationalError
from django.db.backends.mysql import base

from farmlokal.mysql.client import DatabaseClient
from farmlokal.mysql.driver import connect
from farmlokal.mysql.features import DatabaseFeatures
from farmlokal.mysql.schema import DatabaseSchemaEditor
from farmlokal.mysql.watchdog import watch
from farmlokal.observability import request_costs

if TYPE_CHECKING:
    from collections.abc import Callable


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    client_class = DatabaseClient
    features_class = DatabaseFeatures

    # Entered before the commit of the transaction that set it, left after; not at all where it is rolled back.
    around_commit: Callable[[], contextlib.AbstractContextManager[None]] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(_counted_and_watched)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        return watch.connected(connect, conn_params)

    def is_usable(self) -> bool:
        try:
            with watch.over(self.connection):
                return super().is_usable()
        except OperationalError:
            return False

    def _commit(self) -> None:
        around, self.around_commit = self.around_commit or contextlib.nullcontext, None
        with around(), watch.over(self.connection):
            super()._commit()  # type: ignore[misc]  # the stubs leave it out

    def _rollback(self) -> None:
        self.around_commit = None
        super()._rollback()  # type: ignore[misc]


def _counted_and_watched(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    request_costs.current.statements += 1
    with watch.over(context["connection"].connection):
        return execute(sql, params, many, context)
