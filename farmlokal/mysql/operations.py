"""Operations for migrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation


class Reviewed(SeparateDatabaseAndState):
    """Operations that `python -m dev.upgrades` would refuse. The reason says why they are right here.

    may_lock: let MySQL copy or lock the table. Then the service must not run during the migration.
    """

    def __init__(self, reason: str, operations: Sequence[Operation], *, may_lock: bool = False) -> None:
        super().__init__(operations, operations)
        self.reason = reason
        self.may_lock = may_lock

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.may_lock = self.may_lock
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        schema_editor.may_lock = False

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.may_lock = self.may_lock
        super().database_backwards(app_label, schema_editor, from_state, to_state)
        schema_editor.may_lock = False
