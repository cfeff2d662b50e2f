"""The tables of changes, made by django-simple-history, and the rows that saves write into them.

A row is the object after the change, and the earlier values of the fields that changed. So a page of changes reads only
its own rows, and the first recorded change of a seeded object is complete, too. The library's signal would see the
object only after the change, so models call record() themselves. SQL that bypasses save() records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from farmlokal.acting import current_actor
from products.models.collations import BINARY_COLLATION

MAX_ACTOR_LENGTH = 200
COUNTERS = {"version"}  # it changes with every change


class RecordedChange(models.Model):
    """What the table of each model has besides the library's columns and the model's own."""

    before = models.JSONField(default=dict, encoder=DjangoJSONEncoder)  # column -> earlier value; empty if created

    class Meta:
        abstract = True


def _get_actor(row: Any) -> str:
    name: str = row.history_user_id
    return name


def _set_actor(row: Any, name: str) -> None:
    row.history_user_id = name[:MAX_ACTOR_LENGTH]


class ChangeRecords(HistoricalRecords):  # type: ignore[misc]  # the library has no types
    """The attribute `history` of a model.

    "By" is a text, because API clients and the partner are no users. Rows are read by object and by primary key only,
    so there is no other index.
    """

    def __init__(self, excluded_fields: Sequence[str] = (), *, inherit: bool = False) -> None:
        super().__init__(
            bases=[RecordedChange],
            excluded_fields=excluded_fields,
            history_id_field=models.BigAutoField(),
            history_user_id_field=models.CharField(max_length=MAX_ACTOR_LENGTH, db_collation=BINARY_COLLATION),
            history_user_getter=_get_actor,
            history_user_setter=_set_actor,
            get_user=lambda **_: current_actor(),  # of a row deleted in a shell; the library records that itself
            inherit=inherit,
        )

    def copy_fields(self, model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
        """The library drops collations, and indexes keys and slugs."""
        fields: dict[str, Any] = super().copy_fields(model)
        for name, field in fields.items():
            field.db_collation = getattr(model._meta.get_field(name), "db_collation", None)
            field.db_index = False
        return fields

    def get_meta_options(self, model: type[models.Model]) -> dict[str, Any]:
        options: dict[str, Any] = super().get_meta_options(model)
        name = f"{model._meta.model_name}_history"
        return options | {
            "ordering": ("-history_id",),
            "get_latest_by": "history_id",
            "indexes": (models.Index(fields=[model._meta.pk.attname, "history_id"], name=name),),
            "default_permissions": (),  # who may view an object may view its history
        }

    def post_save(self, *_: Any, **__: Any) -> None:
        """Models call record()."""


def record(before: models.Model | None, after: models.Model) -> None:
    """Insert the change of a saved object, in the transaction of its save. Nothing if no field differs.

    before: the row as it was, locked in this transaction; None if it is new.
    """
    for row in changes([(before, after)]):
        row.save(force_insert=True)


def changes(saved: Sequence[tuple[models.Model | None, models.Model]]) -> list[Any]:
    """Unsaved rows of (before, after) for bulk_create(), by the current actor. Equal pairs have none."""
    return [row for before, after in saved if (row := _change(before, after))]


def _change(before: models.Model | None, after: Any) -> Any:
    table = after.history.model
    columns = [field.attname for field in table.tracked_fields]
    differ = {name for name in columns if before and getattr(before, name) != getattr(after, name)} - COUNTERS
    if before and not differ:
        return None
    return table(
        history_date=timezone.now(),
        history_type="~" if before else "+",
        history_user=current_actor(),
        before={name: getattr(before, name) for name in columns if name in differ},
        **{name: getattr(after, name) for name in columns},
    )
