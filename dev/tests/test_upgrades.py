"""Which migrations the gate refuses, and that the last release works with the newest tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.functions import Now, Upper

from dev.docs.pages import PROJECT
from dev.upgrades import released
from dev.upgrades.check import all_refusals, refusals
from farmlokal.mysql.operations import Reviewed

FARM: Any = {
    "id": models.BigAutoField(primary_key=True),
    "name": models.CharField(max_length=50, db_collation="utf8mb4_bin"),
    "code": models.CharField(max_length=64, null=True),
    "about": models.TextField(max_length=100),
    "size": models.IntegerField(db_default=1),
}


def nothing(apps: Any, schema_editor: Any) -> None:
    pass


def check(*operations: Operation) -> list[str]:
    migration = type("Migration", (migrations.Migration,), {"operations": operations})("0009_sample", "products")
    state = ProjectState()
    for name in ("farm", "shop"):
        state.add_model(ModelState("products", name, [(name, field.clone()) for name, field in FARM.items()]))
    return list(refusals(migration, state))


def add(field: models.Field[Any, Any]) -> Operation:
    return migrations.AddField("farm", "new", field)


def alter(name: str, field: models.Field[Any, Any]) -> Operation:
    return migrations.AlterField("farm", name, field)


GENERATED: Any = models.GeneratedField(expression=Upper("name"), output_field=models.TextField(), db_persist=True)
REFUSED: list[tuple[str, Operation]] = [
    ("still uses it", migrations.RemoveField("farm", "name")),
    ("still uses it", migrations.DeleteModel("farm")),
    ("still uses it", migrations.RenameField("farm", "name", "title")),
    ("still uses it", migrations.RenameModel("farm", "estate")),
    ("still uses it", migrations.AlterModelTable("farm", "estates")),
    ("still uses it", migrations.SeparateDatabaseAndState([migrations.RemoveField("farm", "name")])),
    ("without this column", migrations.SeparateDatabaseAndState([], [migrations.RemoveField("farm", "name")])),
    ("without this column", add(models.IntegerField())),
    ("without this column", add(models.IntegerField(default=1))),
    ("into all rows", add(models.TextField(null=True, default=""))),
    ("same value", add(models.IntegerField(null=True, unique=True))),
    ("foreign key", add(models.ForeignKey("products.shop", models.PROTECT, null=True))),
    ("CHECK", add(models.PositiveIntegerField(db_default=1))),
    ("expression", add(models.DateTimeField(db_default=Now()))),
    ("expression", add(models.TextField(db_default=""))),
    ("copies", add(GENERATED)),
    ("copies", alter("size", models.BigIntegerField(db_default=1))),
    ("copies", alter("size", models.IntegerField())),
    ("copies", alter("code", models.CharField(max_length=64))),
    ("copies", alter("code", models.CharField(max_length=63, null=True))),
    ("copies", alter("code", models.CharField(max_length=64, null=True, unique=True))),
    ("copies", alter("name", models.CharField(max_length=50, db_collation="utf8mb4_unicode_ci"))),
    ("copies", alter("name", models.CharField(max_length=64, db_collation="utf8mb4_bin"))),
    ("copies", migrations.AddIndex("farm", models.Index(models.F("size") + 1, name="i"))),
    ("by name", migrations.RemoveIndex("farm", "i")),
    ("by name", migrations.RenameIndex("farm", "i", old_name="j")),
    ("violate", migrations.AddConstraint("farm", models.UniqueConstraint(fields=["name"], name="c"))),
    ("violate", migrations.AlterUniqueTogether("farm", {("name", "size")})),
    ("rely on it", migrations.RemoveConstraint("farm", "c")),
    ("limits how many rows", migrations.RunSQL("UPDATE products_farm SET size = 2")),
    ("one transaction", migrations.RunPython(nothing)),
    ("no rule", migrations.AlterOrderWithRespectTo("farm", "name")),
]  # fmt: skip
ALLOWED: list[Operation] = [
    migrations.CreateModel("new", [("id", models.BigAutoField(primary_key=True))]),
    migrations.AddIndex("farm", models.Index(fields=["size"], name="i")),
    migrations.RunPython(nothing, atomic=False),
    migrations.SeparateDatabaseAndState([], [migrations.RemoveField("farm", "code")]),
    Reviewed("Nothing uses it since 0.1.", [migrations.RemoveField("farm", "name")]),
    add(models.IntegerField(null=True)),
    add(models.CharField(max_length=9, db_default="")),
    add(models.ForeignKey("products.shop", models.PROTECT, null=True, db_constraint=False)),
    add(models.ManyToManyField("products.shop")),
    alter("name", models.CharField(max_length=63, db_collation="utf8mb4_bin", default="x")),
    alter("code", models.CharField(max_length=200, null=True, choices=[("x", "y")])),
    alter("about", models.TextField(max_length=999, null=True)),
    alter("size", models.IntegerField(db_default=2, db_index=True)),
]


@pytest.mark.parametrize(("why", "operation"), REFUSED)
def test_operation_is_refused_in_one_line(why: str, operation: Operation) -> None:
    (line,) = check(operation)
    assert why in line
    assert line.startswith("dev/tests/test_upgrades.py: ")
    assert "Instead: " in line
    assert "\n" not in line


@pytest.mark.parametrize("operation", ALLOWED)
def test_operation_is_allowed(operation: Operation) -> None:
    assert check(operation) == []


def test_data_and_schema_in_one_migration_are_refused() -> None:
    (line,) = check(add(models.IntegerField(null=True)), migrations.RunPython(nothing, atomic=False))
    assert "killed halfway" in line


def test_table_of_the_same_migration_may_change() -> None:
    create = migrations.CreateModel("new", [("id", models.BigAutoField(primary_key=True))])
    assert check(create, migrations.AddField("new", "size", models.PositiveIntegerField())) == []


def test_new_migrations_are_online() -> None:
    assert all_refusals() == []


def test_released_migrations_are_those_of_the_last_version() -> None:
    assert f"## [{released.VERSION}]" in (PROJECT / "CHANGELOG.md").read_text()
    assert f'version = "{released.VERSION}"' in (PROJECT / "pyproject.toml").read_text()


@pytest.mark.django_db
def test_last_release_writes_and_reads_the_newest_tables() -> None:
    """By the SQL of its models, which name its columns only."""
    with connection.constraint_checks_disabled():
        for model in released.tables():
            released.row(model).save(force_insert=True)
            found = model.objects.latest("pk")
            found.save(force_update=True)
            model.objects.filter(pk=found.pk).delete()
