"""Examines MySQL: whether it answers, how, and whether its tables are those of this release."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import Error, connection, connections, models
from django.db.migrations.loader import MigrationLoader

from farmlokal.doctor.results import Result, ahead, clock, ok
from farmlokal.mysql.replicas import current_position, has_reached, replicas

CONNECTIONS_OF_A_WORKER = 46  # docs/operations.md, "Limits of one machine"
MIGRATE = "Run manage.py migrate."
REPAIR = "Create it as the migration that names it does; find out who dropped it."
RESTORE = "Give the user of DATABASE_URL the right to read all tables, or restore the missing one."
LOG = "Set log_bin and, on MySQL, gtid_mode=ON on the primary."
CONVERT = "Convert the column, or restore the database with its character sets."


def examine() -> Iterator[Result]:
    try:
        server, ahead_seconds = _server(), ahead(_time)
    except Error as error:
        yield Result("error", "mysql", str(error.args[-1]), "Check DATABASE_URL, the server and the network.")
        return
    yield ok("mysql", server)
    yield _tls()
    yield clock("mysql clock", ahead_seconds)
    yield _connections()
    yield from _galera()
    yield from _replicas()
    yield from examine_tables()


def examine_tables() -> Iterator[Result]:
    """Only what this release needs of its tables."""
    try:
        schema = _schema()
        yield schema
        if schema.level != "error":
            yield _indexes()
            yield _collations()
    except Error as error:
        yield Result("error", "tables", f"{error.args[-1]}.", RESTORE)


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _server() -> str:
    ((version, database),) = _rows("SELECT VERSION(), DATABASE()")
    return f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version}, database {database}."


def _time() -> float:
    ((seconds,),) = _rows("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)")
    return float(seconds)


def _tls() -> Result:
    mode = settings.DATABASES["default"]["OPTIONS"]["ssl_mode"]
    ((_, version),) = _rows("SHOW SESSION STATUS LIKE 'Ssl_version'")
    if mode == "REQUIRED":
        return Result(
            "warning",
            "mysql tls",
            f"{version}, but the server's certificate is not verified.",
            "Write ssl_mode=VERIFY_IDENTITY in DATABASE_URL, or ssl_ca with the provider's CA.",
        )
    return ok("mysql tls", f"{version}, verified." if version else "None: the connection is plain text.")


def _connections() -> Result:
    ((most,),) = _rows("SELECT @@max_connections")
    needed = settings.WEB_CONCURRENCY * CONNECTIONS_OF_A_WORKER
    text = f"The server allows {most}; this machine may need {needed}."
    if most >= needed:
        return ok("mysql connections", text)
    return Result("warning", "mysql connections", text, "Raise max_connections, or lower WEB_CONCURRENCY.")


def _galera() -> Iterator[Result]:
    """Without a binary log, MariaDB 10.11 sends the other nodes what a transaction has rolled back to a savepoint."""
    if _rows("SHOW STATUS LIKE 'wsrep_ready'") and _rows("SELECT @@wsrep_on, @@log_bin") == [(1, 0)]:
        text = "Galera without a binary log: nodes may differ after a failed webhook or import."
        yield Result("error", "mysql galera", text, "Set log_bin and log_slave_updates on each node.")


def _replicas() -> Iterator[Result]:
    names = replicas()
    position = current_position() if names else ""
    if names and not position:
        yield Result("warning", "mysql replicas", "Unused: the primary has no GTID position.", LOG)
    for name in names:
        try:
            is_level = has_reached(connections[name], position)
        except Error as error:
            yield Result("error", name, str(error.args[-1]), "Check DATABASE_REPLICA_URL, the server and the network.")
        else:
            yield ok(name, f"It {'has' if is_level else 'lacks'} the latest commit of the primary.")


def _schema() -> Result:
    loader = MigrationLoader(connection)
    graph, applied = loader.graph, loader.applied_migrations
    missing = [f"{name[0]}.{name[1]}" for name in graph.nodes if name not in applied]
    if missing:
        return Result("error", "schema", f"Not applied: {', '.join(sorted(missing))}.", MIGRATE)
    ours = {app for app, _ in graph.nodes}
    newer = [f"{app}.{name}" for app, name in applied if app in ours and (app, name) not in graph.nodes]
    if newer:
        text = f"A newer release has applied: {', '.join(sorted(newer))}."
        return Result("warning", "schema", text, "Deploy that release, unless this is a rollback.")
    return ok("schema", f"All {len(graph.nodes)} migrations are applied.")


def _indexes() -> Result:
    missing = [f"{model._meta.db_table}: {name}" for model in _models() for name in _missing_indexes(model)]
    if missing:
        return Result("error", "indexes", f"Missing: {'; '.join(missing)}.", REPAIR)
    return ok("indexes", "All indexes and constraints of the models exist.")


def _models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if model._meta.managed and not model._meta.proxy]


def _missing_indexes(model: type[models.Model]) -> Iterator[str]:
    with connection.cursor() as cursor:
        existing = connection.introspection.get_constraints(cursor, model._meta.db_table)
    for named in itertools.chain(model._meta.indexes, model._meta.constraints):
        if named.name not in existing:
            yield str(named.name)
    leading = {constraint["columns"][0] for constraint in existing.values() if constraint["columns"]}
    for field in model._meta.local_concrete_fields:
        is_indexed = field.unique or getattr(field, "db_index", False)  # some kinds of fields have no db_index
        if is_indexed and field.column and field.column not in leading:
            yield f"an index of {field.column}"


def _collations() -> Result:
    declared = {
        (model._meta.db_table, field.column): field.db_collation
        for model in _models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.CharField | models.TextField)
    }
    actual = _rows(
        "SELECT table_name, column_name, character_set_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND character_set_name IS NOT NULL"
    )
    wrong = [
        f"{table}.{column} has {collation}"
        for table, column, charset, collation in actual
        if (table, column) in declared and (charset != "utf8mb4" or collation != (declared[table, column] or collation))
    ]
    if wrong:
        return Result("error", "collations", f"{'; '.join(sorted(wrong))}.", CONVERT)
    return ok("collations", "All text columns have the collation of their model.")
