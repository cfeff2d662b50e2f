"""The schema of the last release. Change VERSION and NEWEST with each release.

The migrations of 0.1.0 only run on new databases, so no rule concerns them. Every later one meets rows, and a service
that runs.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.apps.registry import Apps
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

VERSION = "0.1.0"
NEWEST = {
    "accounts": "0003_staff_manager",
    "farmlokal": "0001_utf8mb4",
    "integrations": "0001_initial",
    "products": "0006_text_validators",
}

# By the Python type of the model's field.
VALUES: dict[type[models.Field[Any, Any]], Any] = {
    models.BinaryField: b"x",
    models.BooleanField: True,
    models.CharField: "x",
    models.DateTimeField: dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    models.DecimalField: 1,
    models.ForeignKey: 1_000_000_000,  # may be of a row that does not exist
    models.IntegerField: 2,  # VocabularyVersion has a row with 1
    models.JSONField: {},
    models.TextField: "x",
}


def migrate() -> None:
    """Bring the database to this schema: from an empty one, or back from a later one."""
    for app, name in NEWEST.items():
        call_command("migrate", app, name, verbosity=0)
    for app in ("admin", "sessions"):
        call_command("migrate", app, verbosity=0)


def tables() -> list[Any]:
    """The models of this schema, as its migrations describe them. Their SQL names the release's columns only."""
    loader = MigrationLoader(connection)
    others = [key for key in loader.graph.leaf_nodes() if key[0] not in NEWEST]
    apps: Apps = loader.project_state([*NEWEST.items(), *others]).apps
    return [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]


def row(model: Any) -> Any:
    """An unsaved row with a value in each column."""
    fields = [field for field in model._meta.local_concrete_fields if not isinstance(field, models.AutoField)]
    return model(**{field.attname: _value(field) for field in fields})


def _value(field: Any) -> Any:
    return next(value for kind, value in VALUES.items() if isinstance(field, kind))


def fill() -> None:
    """Add a row to each table, although the rows that it refers to may be missing."""
    with connection.constraint_checks_disabled():
        for model in tables():
            model.objects.bulk_create([row(model)])
