"""Applies the rules to migrations, without a database."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.db.migrations import CreateModel, Migration, RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from dev.upgrades import released
from dev.upgrades.rules import MIXED, RULES, STATE_RULES, UNKNOWN, Refusal
from farmlokal.mysql.operations import Reviewed


def new_migrations(loader: MigrationLoader) -> list[Migration]:
    """Those of our apps that the last release does not contain, in the order in which they run."""
    return migrations_after(released.NEWEST, loader)


def migrations_after(newest: Mapping[str, str], loader: MigrationLoader) -> list[Migration]:
    """Those that neither are nor precede one of `newest`, in the order in which they run.

    newest: a migration of each of our apps, or "zero".
    """
    known = [key for key in newest.items() if key[1] != "zero"]
    old = {key for each in known for key in loader.graph.forwards_plan(each)}
    leaves = [key for key in loader.graph.leaf_nodes() if key[0] in newest]
    plan = dict.fromkeys(key for leaf in leaves for key in loader.graph.forwards_plan(leaf))
    return [loader.graph.nodes[key] for key in plan if key not in old and key[0] in newest]


def all_refusals() -> list[str]:
    """One line for each refused operation of the project's new migrations."""
    loader = MigrationLoader(None)
    return [
        line
        for migration in new_migrations(loader)
        for line in refusals(migration, loader.project_state((migration.app_label, migration.name), at_end=False))
    ]


def refusals(migration: Migration, state: ProjectState) -> Iterator[str]:
    """state: before the migration. It is changed."""
    name = f"{Path(inspect.getfile(type(migration))).relative_to(Path.cwd())}"
    data = [operation for operation in migration.operations if isinstance(operation, RunPython | RunSQL)]
    if data and len(data) < len(migration.operations):
        yield _line(name, data[0], MIXED)
    created: set[str] = set()
    for operation in migration.operations:
        for part, rules in _parts(operation):
            model = getattr(part, "model_name_lower", getattr(part, "name_lower", ""))
            rule = rules.get(type(part), lambda *_: UNKNOWN)
            refusal = None if model in created else rule(part, _model(state, migration.app_label, model))
            if refusal:
                yield _line(name, part, refusal)
        if isinstance(operation, CreateModel):
            created.add(operation.name.lower())
        operation.state_forwards(migration.app_label, state)


def _parts(operation: Any) -> Iterator[tuple[Any, Any]]:
    """The operation, or those inside it, with their rules. A review replaces all rules."""
    if isinstance(operation, Reviewed):
        return
    if not isinstance(operation, SeparateDatabaseAndState):
        yield operation, RULES
        return
    yield from ((part, RULES) for part in operation.database_operations)
    if not operation.database_operations:
        yield from ((part, RULES | STATE_RULES) for part in operation.state_operations)


def _model(state: ProjectState, app: str, name: str) -> ModelState | None:
    return state.models.get((app, name))


def _line(name: str, operation: Operation, refusal: Refusal) -> str:
    return f"{name}: {operation.describe()}: refused, because {refusal.why}. Instead: {refusal.instead}."
