"""Which operations may run beside the release before, and why the others may not.

django-migration-linter reads the SQL instead. On MySQL it flags every MODIFY and misses constraints, copies and data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db import migrations, models
from django.db.migrations.operations import AlterConstraint, AlterModelTableComment
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState


class Refusal(NamedTuple):
    why: str
    instead: str


Rule = Callable[[Any, ModelState | None], Refusal | None]  # (operation, model before it); None: it may run

USED = "the release before still uses it"
DROPPED = Refusal(
    USED, "remove it from the state only, by SeparateDatabaseAndState; drop it one release later by RunSQL in Reviewed"
)
RENAMED = Refusal(USED, "rename it in Python only, and keep the name in MySQL by db_column or db_table")
INDEX = Refusal(
    "SQL of the release before may force this index by name", "add the new one; drop this one a release later"
)
CONSTRAINT = Refusal(
    "existing rows, or rows of the release before, may violate it, and MySQL locks the table to check most kinds",
    "validate in Python, or create a new table with the constraint",
)
UNCONSTRAINED = Refusal("the release before may rely on it", "remove it one release after the last code that needs it")
COPIED = Refusal(
    "MySQL copies the table and stops writes, or the release before writes values that do not fit",
    "add a new column, fill it in batches, and switch to it in the next release",
)
SQL = Refusal("nothing limits how many rows it locks", "use an operation, or RunPython(..., atomic=False) in batches")
DATA = Refusal(
    "one transaction would hold the locks of all its rows until its end",
    "RunPython(..., atomic=False), which commits each batch and may run again",
)
MIXED = Refusal("if it is killed halfway, it repeats both", "two migrations: one for the schema, one for the data")
UNKNOWN = Refusal("dev/upgrades/rules.py has no rule for it", "add a rule, or explain it by Reviewed")

WITHOUT_DEFAULT = Refusal(
    "the release before inserts rows without this column", "null=True without a default, or a db_default"
)
DEFAULT_IN_PYTHON = Refusal("Django may write the default into all rows", "a db_default, or no default")
UNIQUE = Refusal("all existing rows would have the same value", "a new table with the unique column")
FOREIGN_KEY = Refusal("MySQL copies the table to add a foreign key, and stops writes", "db_constraint=False")
CHECKED = Refusal("MySQL copies the table for its CHECK, and stops writes", "IntegerField with MinValueValidator(0)")
EXPRESSION = Refusal(
    "MySQL copies the table for a default that is an expression, as for texts and JSON", "null=True without a default"
)

LONG_TYPES = (models.TextField, models.BinaryField, models.JSONField)
ONE_BYTE_LENGTH = 63  # characters of at most 4 bytes: above, InnoDB stores the length of a text in two bytes
NOT_IN_MYSQL = {*models.Field.non_db_attrs, "default", "auto_now", "auto_now_add", "encoder", "decoder", "serialize"}


def _add_field(operation: migrations.AddField, _: ModelState | None) -> Refusal | None:
    field: Any = operation.field
    if field.many_to_many:
        return None  # a new table
    refusals = {
        UNIQUE: field.unique,
        FOREIGN_KEY: field.is_relation and field.db_constraint,
        CHECKED: isinstance(field, models.fields.PositiveIntegerRelDbTypeMixin),
        COPIED: field.generated and field.db_persist,
        WITHOUT_DEFAULT: not (field.null or field.has_db_default() or field.generated),
        DEFAULT_IN_PYTHON: field.has_default() and not field.has_db_default(),
        EXPRESSION: field.has_db_default()
        and (hasattr(field.db_default, "resolve_expression") or isinstance(field, LONG_TYPES)),
    }
    return next((refusal for refusal, is_broken in refusals.items() if is_broken), None)


def _alter_field(operation: migrations.AlterField, model: ModelState | None) -> Refusal | None:
    old, new = (model.fields[operation.name] if model else operation.field), operation.field
    if type(old) is not type(new):
        return COPIED
    before, after = old.deconstruct()[3], new.deconstruct()[3]
    changed = {name for name in {*before, *after} - NOT_IN_MYSQL if before.get(name) != after.get(name)}
    allowed = {"db_index", "db_comment"}
    if new.null:
        allowed.add("null")
    if new.has_db_default():
        allowed.add("db_default")
    if isinstance(new, models.TextField) or _is_longer_in_place(old, new):
        allowed.add("max_length")
    return COPIED if changed - allowed else None


def _is_longer_in_place(old: Any, new: Any) -> bool:
    before, after = old.max_length or 0, new.max_length or 0
    return bool(before <= after and (after <= ONE_BYTE_LENGTH or before > ONE_BYTE_LENGTH))


def _remove_from_state(operation: migrations.RemoveField, model: ModelState | None) -> Refusal | None:
    field = model and model.fields[operation.name]
    return WITHOUT_DEFAULT if field and not (field.null or field.has_db_default()) else None


RULES: dict[type[Operation], Rule] = {
    migrations.CreateModel: lambda operation, model: None,
    migrations.AlterModelOptions: lambda operation, model: None,
    migrations.AlterModelManagers: lambda operation, model: None,
    AlterModelTableComment: lambda operation, model: None,
    AlterConstraint: lambda operation, model: None,
    migrations.AddIndex: lambda operation, model: COPIED if operation.index.expressions else None,
    migrations.AddField: _add_field,
    migrations.AlterField: _alter_field,
    migrations.RemoveField: lambda operation, model: DROPPED,
    migrations.DeleteModel: lambda operation, model: DROPPED,
    migrations.RenameField: lambda operation, model: RENAMED,
    migrations.RenameModel: lambda operation, model: RENAMED,
    migrations.AlterModelTable: lambda operation, model: RENAMED,
    migrations.RemoveIndex: lambda operation, model: INDEX,
    migrations.RenameIndex: lambda operation, model: INDEX,
    migrations.AddConstraint: lambda operation, model: CONSTRAINT,
    migrations.AlterUniqueTogether: lambda operation, model: CONSTRAINT,
    migrations.RemoveConstraint: lambda operation, model: UNCONSTRAINED,
    migrations.RunSQL: lambda operation, model: SQL,
    migrations.RunPython: lambda operation, model: None if operation.atomic is False else DATA,
}
# Of a SeparateDatabaseAndState: only the model changes.
STATE_RULES: dict[type[Operation], Rule] = {migrations.RemoveField: _remove_from_state}
