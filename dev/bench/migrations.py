"""make bench-migrations: each migration among ROWS products, webhooks and log entries, beside a writer and a reader.

The migrations of the last release are measured too, although they only run on new databases. Then the code of that
release serves requests with the newest tables.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from django.db import connection
from django.db.migrations import Migration, RunPython
from django.db.migrations.loader import MigrationLoader

from dev.bench import old_release, skew
from dev.bench.figures import DASH, progress, save, table
from dev.testing.mysql import connect, query
from dev.upgrades import released
from dev.upgrades.check import migrations_after, new_migrations

# The migrations before these meet no rows: they create the tables that the benchmark fills.
FIRST = {
    "accounts": "0002_api_clients",
    "farmlokal": "zero",
    "integrations": "0001_initial",
    "products": "0002_agmarknet",
}
DATA_SECONDS = 300  # a migration of data repeats equal batches: after this time it is killed, and counts as done
IDLE_SECONDS = 20
INTERVAL_SECONDS = 0.05
MARGIN_SECONDS = 1  # of load before and after a migration
MIGRATE = """
import sys, time
import django
django.setup()
from django.core.management import call_command
start = time.perf_counter()
call_command("migrate", *sys.argv[1:], verbosity=0)
print(time.perf_counter() - start)
"""
LISTING = "FORCE INDEX (product_created_at) WHERE is_active = 1 ORDER BY created_at DESC, id DESC LIMIT 26"
READS = (
    f"SELECT * FROM products_product {LISTING}",
    "SELECT id, type, status FROM integrations_webhookevent ORDER BY id DESC LIMIT 26",
    "SELECT id, object_repr FROM django_admin_log ORDER BY id DESC LIMIT 10",
)
COPIED = {  # table: a column with unique values
    "products_product": None,
    "integrations_webhookevent": "webhook_id",
    "django_admin_log": None,
}


class Cell(NamedTuple):
    seconds: float | None  # None: killed
    longest: tuple[float, float]  # seconds that the writer and the reader waited
    errors: list[str]


class Load(threading.Thread):
    """Runs transactions one after the other, and remembers the longest and the errors."""

    def __init__(self, url: str, transactions: Sequence[Sequence[str]]) -> None:
        super().__init__(daemon=True)
        self.connection = connect(url)
        self.transactions = transactions
        self.is_over = threading.Event()
        self.longest = 0.0
        self.errors: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.is_over.wait(INTERVAL_SECONDS):
            start = time.perf_counter()
            try:
                self._run(self.transactions[number % len(self.transactions)])
            except Exception as error:  # noqa: BLE001  # the report shows it
                self.errors.append(str(error))
                self.connection.rollback()
            self.longest = max(self.longest, time.perf_counter() - start)
            number += 1

    def _run(self, statements: Sequence[str]) -> None:
        for statement in ("BEGIN", *statements, "COMMIT"):
            query(self.connection, statement)


def writes(url: str) -> list[tuple[str, ...]]:
    """The service's ways to write. Each INSERT names the columns of now, as the release before the migration does."""
    lock = "SELECT id FROM products_product WHERE id = 7 FOR UPDATE"
    change = "UPDATE products_product SET price = price + 1, version = version + 1, updated_at = NOW(6) WHERE id = 7"
    return [(lock, change), *((_copy(url, name, unique),) for name, unique in COPIED.items())]


def _copy(url: str, name: str, unique: str | None) -> str:
    columns = [f"`{column}`" for column, *_ in query(connect(url), f"SHOW COLUMNS FROM {name}") if column != "id"]
    values = ["CONCAT('m', UUID())" if column == f"`{unique}`" else column for column in columns]
    return f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {name} WHERE id = 7"


@contextmanager
def loaded(url: str) -> Iterator[tuple[Load, Load]]:
    writer, reader = Load(url, writes(url)), Load(url, [(statement,) for statement in READS])
    for load in (writer, reader):
        load.start()
    time.sleep(MARGIN_SECONDS)
    yield writer, reader
    time.sleep(MARGIN_SECONDS)
    for load in (writer, reader):
        load.is_over.set()
        load.join()


def migrate(environment: dict[str, str], *arguments: str, limit: float | None = None) -> float | None:
    """Seconds of the migration, without the start of the process. None if it reached the limit and was killed."""
    command = [sys.executable, "-c", MIGRATE, *arguments]
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=limit)
    except subprocess.TimeoutExpired:
        subprocess.run([*command, "--fake"], env=environment, stdout=subprocess.DEVNULL, check=True)
        return None
    return float(done.stdout.split()[-1])


def measure(url: str, work: Callable[[], float | None]) -> Cell:
    with loaded(url) as (writer, reader):
        seconds = work()
    return Cell(seconds, (writer.longest, reader.longest), [*writer.errors, *reader.errors])


def idle() -> float:
    time.sleep(IDLE_SECONDS)
    return IDLE_SECONDS


def line(name: str, release: str, cell: Cell) -> tuple[str, ...]:
    longest = (f"{seconds:.2f}" for seconds in cell.longest)
    seconds = f"over {DATA_SECONDS}" if cell.seconds is None else f"{cell.seconds:.1f}"
    return name, release, seconds, *longest, str(len(cell.errors) or DASH)


def prepare(url: str, environment: dict[str, str], rows: int) -> None:
    """Fill the newest tables, then go back to the state before the first migration that meets rows."""
    name = urlsplit(url).path[1:]
    query(connect(url, ""), f"DROP DATABASE IF EXISTS {name}")
    query(connect(url, ""), f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    for command in (("migrate", "-v0"), ("seed_products", str(rows))):
        subprocess.run([sys.executable, "manage.py", *command], env=environment, stdout=sys.stderr, check=True)
    with connection.cursor() as cursor:
        cursor.execute(f"USE {name}")
    skew.make_events(rows)
    make_log(rows)
    for app, first in FIRST.items():
        progress(f"back to {app} {first}")
        migrate(environment, app, first)


def make_log(entries: int) -> None:
    """The admin's log of one user."""
    skew.run(
        "INSERT INTO accounts_user (username, password, first_name, last_name, email, is_superuser, is_staff,"
        " is_active, date_joined) VALUES ('bench', '', '', '', '', 0, 0, 1, NOW())"
    )
    skew.run(
        "INSERT INTO django_admin_log (id, action_time, object_id, object_repr, action_flag, change_message,"
        " content_type_id, user_id) SELECT id, created_at, id, name, 2, '[]',"
        " (SELECT MIN(id) FROM django_content_type), (SELECT id FROM accounts_user WHERE username = 'bench')"
        " FROM products_product WHERE id <= %s",
        entries,
    )


def measured() -> Iterator[tuple[Migration, str]]:
    """Each migration that meets rows, with its release: those of the last release first."""
    loader = MigrationLoader(None)
    meet_rows, new = migrations_after(FIRST, loader), new_migrations(loader)
    yield from ((migration, released.VERSION) for migration in meet_rows if migration not in new)
    yield from ((migration, "later") for migration in meet_rows if migration in new)


def main(rows: int) -> None:
    parts = urlsplit(os.environ["DATABASE_URL"])
    url = parts._replace(path="/farmlokal_migrations").geturl()
    environment = os.environ | {"DATABASE_URL": url}
    prepare(url, environment, rows)
    lines = [line("none", DASH, measure(url, idle))]
    for migration, release in measured():
        app, name = migration.app_label, migration.name
        is_data = any(isinstance(operation, RunPython) for operation in migration.operations)
        work = partial(migrate, environment, app, name, limit=DATA_SECONDS if is_data else None)
        cell = measure(url, work)
        lines.append(line(f"{app} {name}", release, cell))
        progress(f"{lines[-1]} {set(cell.errors) or ''}")
    head = ("migration", "release", "seconds", "longest wait of the writer, s", "of the reader, s", "errors")
    print(table(head, lines))
    save("migrations", f"make bench-migrations ROWS={rows}", head, lines)
    print(old_release.report(environment))
