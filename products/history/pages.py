"""The changes of one object, newest first, as texts for people. A page is one range of the index (object, change)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db.models import Field, Model
from django.utils.text import capfirst

from products.history.records import COUNTERS
from products.models import MAX_ID

PAGE_CHANGES = 100

Names = dict[str, dict[Any, str]]  # by column and key


class FieldChange(NamedTuple):
    label: str
    before: str  # "" also for a new object
    after: str


class Change(NamedTuple):
    key: int
    at: dt.datetime
    by: str
    kind: str  # Created, Changed or Deleted
    fields: list[FieldChange]


class HistoryPage(NamedTuple):
    """newer, older: the change after which, or before which, the page beside this one begins. None: there is none."""

    changes: list[Change]
    newer: int | None
    older: int | None


def read_page(model: Any, pk: int, *, before: int | None = None, after: int | None = None) -> HistoryPage:
    """The PAGE_CHANGES changes next to one of them: older ones (before), newer ones (after), or the newest of all."""
    if after is not None:
        found = _find(model, pk, "history_id > %s ORDER BY history_id", after)
        shown, has_newer = found[:PAGE_CHANGES][::-1], len(found) > PAGE_CHANGES
        has_older = bool(shown)  # the change from which the reader came
    else:
        found = _find(model, pk, "history_id < %s ORDER BY history_id DESC", MAX_ID if before is None else before)
        shown, has_older = found[:PAGE_CHANGES], len(found) > PAGE_CHANGES
        has_newer = before is not None and bool(shown)
    changes = describe(shown)
    return HistoryPage(changes, changes[0].key if has_newer else None, changes[-1].key if has_older else None)


def authors_since(changed: Any, version: str) -> dict[str, str]:
    """By column: who last changed it after this version, as far as the newest PAGE_CHANGES changes tell."""
    newest = _find(type(changed), changed.pk, "history_id < %s ORDER BY history_id DESC", MAX_ID)
    later = [row for row in newest if version.isdecimal() and row.version > int(version[:18])]
    return {column: row.history_user_id for row in reversed(later) for column in row.before}


def _find(model: Any, pk: int, rest: str, key: int) -> list[Any]:
    """One row more than a page. Without FORCE, the optimizer may walk the primary key through all objects."""
    options = model.history.model._meta
    table = f"`{options.db_table}` FORCE INDEX (`{options.indexes[0].name}`)"
    sql = f"SELECT * FROM {table} WHERE id = %s AND {rest} LIMIT {PAGE_CHANGES + 1}"
    return list(model.history.raw(sql, [pk, key]))


def describe(rows: Sequence[Any]) -> list[Change]:
    """rows: of one table of history. One statement more for each foreign key among the changed fields."""
    names = _names(rows)
    return [
        Change(
            row.history_id,
            row.history_date,
            row.history_user_id,
            row.get_history_type_display(),
            [_field_change(field, earlier, row, names) for field, earlier in _changed(row)],
        )
        for row in rows
    ]


def _field_change(field: Field[Any, Any], earlier: Any, row: Any, names: Names) -> FieldChange:
    before, after = (text_of(field, value, names) for value in (earlier, getattr(row, field.attname)))
    return FieldChange(capfirst(str(field.verbose_name)), before, after)


def _changed(row: Any) -> Iterator[tuple[Field[Any, Any], Any]]:
    """The changed fields and their earlier values. All that are not empty, if the object was created."""
    for field in row.tracked_fields:
        if field.attname in row.before:
            yield field, row.before[field.attname]
        elif row.history_type == "+" and field.attname not in {"id", *COUNTERS} and _is_set(row, field):
            yield field, None


def _is_set(row: Any, field: Field[Any, Any]) -> bool:
    return getattr(row, field.attname) not in {None, ""}


def _names(rows: Sequence[Any]) -> Names:
    """Of the foreign keys among the changed fields."""
    keys: dict[Field[Any, Any], set[int]] = defaultdict(set)
    for row in rows:
        for field, earlier in _changed(row):
            if field.is_relation:
                keys[field] |= {earlier, getattr(row, field.attname)} - {None}
    return {field.attname: names_of(field.related_model, wanted) for field, wanted in keys.items()}


def names_of(model: Any, keys: set[int]) -> dict[int, str]:
    objects: dict[int, Model] = model._default_manager.in_bulk(keys)
    return {key: str(one) for key, one in objects.items()}


def text_of(field: Field[Any, Any], value: Any, names: Names) -> str:
    if value is None:
        return ""
    if field.is_relation:
        return names[field.attname].get(value, f"deleted ({value})")
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return str(dict(field.flatchoices).get(value, value))
