"""manage.py seed_products fills, replaces or extends the catalogue, and survives being killed."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any, ClassVar

import MySQLdb
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count
from django.test import Client
from django.utils import timezone
from MySQLdb.cursors import Cursor

from dev.testing.databases import is_on_galera
from dev.testing.waiting import wait_until
from products.management.commands import seed_products
from products.models import Farm, LoadLease, Posting, Product
from products.seeding import bulk_loader, generator, lease
from products.seeding.lease import Lease
from products.seeding.postings import insert_postings

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture(autouse=True)
def _empty_catalogue(live_database: None) -> Iterator[None]:
    seed(0, "--reset")
    yield
    seed(0, "--reset")


def seed(*arguments: Any) -> str:
    output = io.StringIO()
    call_command("seed_products", *arguments, stdout=output)
    return output.getvalue()


def content() -> list[dict[str, Any]]:
    return list(Product.objects.order_by("pk").values())


def keys(table: str) -> set[tuple[Any, ...]]:
    """The indexes and foreign keys of a table, without their names."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
    return {(*c["columns"], c["primary_key"], c["unique"], c["index"], c["foreign_key"]) for c in constraints.values()}


def test_catalogue_is_determined_by_the_seed() -> None:
    seed(500)
    first = content()
    seed(500, "--reset")
    assert content() == first
    seed(500, "--reset", "--seed", 2)
    assert len(content()) == 500
    assert content() != first


def test_new_catalogue_has_no_history() -> None:
    seed(5)
    for model in (Product, Farm):
        before = keys(model.history.model._meta.db_table)
        one = model._default_manager.get(pk=1)
        one.name = "Renamed"
        one.save()
        assert model.history.count() == 1
        seed(5, "--reset")
        assert model.history.count() == 0
        assert keys(model.history.model._meta.db_table) == before


def test_catalogue_is_plausible() -> None:
    seed(20_000)
    products = Product.objects.all()
    mango = products.filter(name="Alphonso Mango, Grade A").first()
    assert mango
    assert mango.variety == "Alphonso"
    assert mango.commodity.slug == "mango"
    assert mango.category.slug == "fruits"
    assert mango.district == mango.farm.district
    assert mango.state == mango.farm.district.state
    assert mango.farm.district.name in mango.farm.name
    by_commodity = [n for _, n in products.values_list("commodity").annotate(n=Count("pk")).order_by("-n")]
    assert by_commodity[0] > 20 * by_commodity[len(by_commodity) // 2], "few commodities make most products"
    assert len(by_commodity) > 400
    same_moment = products.filter(created_at=generator.IMPORT_MOMENT + "+00:00").count()
    assert same_moment == pytest.approx(2_000, rel=0.1)
    assert products.filter(price=generator.SALE_PRICE).count() == pytest.approx(2_000, rel=0.1)


def test_existing_catalogue_needs_an_explicit_option() -> None:
    seed(20)
    with pytest.raises(CommandError, match="use --reset"):
        seed(30)
    with pytest.raises(CommandError, match="not allowed with"):
        seed(30, "--reset", "--append")
    seed(30, "--if-empty")
    assert Product.objects.count() == 20
    Product.objects.all().delete()
    with pytest.raises(CommandError, match="use --reset"):
        seed(30)  # the farms are still there
    assert Farm.objects.count() == 1
    seed(30, "--reset")
    assert (Product.objects.count(), Farm.objects.count()) == (30, 1)
    seed(12, "--append")
    assert (Product.objects.count(), Farm.objects.count()) == (42, 2)
    with pytest.raises(CommandError, match="0 or more"):
        seed(-1, "--reset")


def test_new_tables_have_the_keys_of_the_old_tables() -> None:
    expected = {table: keys(table) for table in ("products_product", "products_farm")}
    assert ("farm_id", False, False, False, ("products_farm", "id")) in expected["products_product"]
    for _ in range(3):
        seed(100, "--reset")
        assert {table: keys(table) for table in expected} == expected
    assert leftovers() == []


class VitessCursor(Cursor):  # type: ignore[misc]  # the driver has no types
    """Runs statements on the real server, except those that Vitess refuses, and raises its errors."""

    refused: ClassVar[dict[str, tuple[int, str]]] = {
        "LOAD DATA": (1235, "not implemented"),
        "JSON_TABLE": (1235, "VT12001: unsupported: json_table expressions"),
        "innodb_ddl_buffer_size": (1193, "VT05006: unknown system variable 'innodb_ddl_buffer_size'"),
    }

    def execute(self, query: Any, args: Any = None) -> Any:
        for part, error in self.refused.items():
            if isinstance(query, str) and part in query:
                raise MySQLdb.OperationalError(*error)
        return super().execute(query, args)


class SafeMigrationsCursor(VitessCursor):
    refused: ClassVar[dict[str, tuple[int, str]]] = VitessCursor.refused | dict.fromkeys(
        ("CREATE TABLE `", "ALTER ", "DROP ", "RENAME ", "TRUNCATE "), (1105, "direct DDL is disabled")
    )


def leftovers() -> list[str]:
    return [table for table in connection.introspection.table_names() if "__" in table]


def postings() -> set[tuple[Any, ...]]:
    return set(Posting.objects.values_list("term", "created_at", "product_id", "price", "name"))


@pytest.mark.parametrize("cursor", [VitessCursor, SafeMigrationsCursor])
def test_seeder_works_without_statements_that_vitess_refuses(
    cursor: type[Cursor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def catalogue() -> tuple[Any, ...]:
        return content(), postings(), list(Farm.objects.order_by("pk").values())

    seed(700)
    seed(700, "--append")
    expected = catalogue()
    parameters = connection.get_connection_params() | {"cursorclass": cursor}
    monkeypatch.setattr(connection, "get_connection_params", lambda: parameters)
    monkeypatch.setattr(bulk_loader, "CHUNK_ROWS", 300)
    for flags in (["--reset"], ["--append"]):
        seed(700, *flags)
    assert catalogue() == expected
    assert leftovers() == []


def test_appended_products_are_seen_although_the_load_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def cache_and_count() -> tuple[str, int]:
        answer = client.get("/products?limit=100")
        return answer["X-Cache"], len(answer.json()["results"])

    def ten_good_rows(*args: Any) -> Iterator[bulk_loader.Row]:
        yield from islice(product_rows(*args), 10)
        yield ("not", "a", "product")

    product_rows = generator.product_rows
    assert [cache_and_count(), cache_and_count()] == [("miss", 0), ("hit", 0)]
    with monkeypatch.context() as patched:
        patched.setattr(generator, "product_rows", ten_good_rows)
        patched.setattr(bulk_loader, "CHUNK_ROWS", 10)
        patched.setattr(bulk_loader, "GALERA_FIRST_ROWS", 10)
        with pytest.raises(CommandError, match="the load failed"):
            seed(20, "--append")
    assert cache_and_count() == ("miss", 10)


def test_table_with_a_foreign_reference_is_not_replaced() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE review (product_id BIGINT)")
        cursor.execute("ALTER TABLE review ADD FOREIGN KEY (product_id) REFERENCES products_product (id)")
        try:
            with pytest.raises(CommandError, match="review refers to products_product"):
                seed(10, "--reset")
        finally:
            cursor.execute("DROP TABLE review")


def end_lease() -> None:
    """As if its owner had not renewed it for LEASE_SECONDS."""
    LoadLease.objects.update(ends_at="2026-01-01T00:00:00Z")


def test_only_one_load_runs_at_a_time() -> None:
    refusal = rf"another load is running: process {os.getpid()} on .* until \d\d:\d\d:\d\d UTC"
    with Lease(), pytest.raises(CommandError, match=refusal):
        seed(10, "--reset")
    seed(10, "--reset")


def test_lease_is_renewed_while_a_load_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    with Lease():
        end_lease()
        wait_until(lambda: LoadLease.objects.get().ends_at > timezone.now())


def test_lost_lease_stops_an_append(monkeypatch: pytest.MonkeyPatch) -> None:
    def index_late(*arguments: Any) -> None:
        insert_postings(*arguments)
        end_lease()
        taken.enter_context(Lease())

    seed(10)
    with monkeypatch.context() as patched, ExitStack() as taken:
        patched.setattr(seed_products, "insert_postings", index_late)
        with pytest.raises(CommandError, match="another load has taken over"):
            seed(10, "--append")
    assert Product.objects.count() == 10


def test_load_without_its_lease_spares_the_next_ones_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def index_late(*arguments: Any) -> None:
        monkeypatch.undo()
        end_lease()
        seed(30, "--reset")
        insert_postings(*arguments)

    monkeypatch.setattr(seed_products, "insert_postings", index_late)
    with pytest.raises(CommandError, match=r"products_posting__new_\w+' doesn't exist|Deadlock"):  # Galera
        seed(20, "--reset")
    assert Product.objects.count() == 30
    assert leftovers() == []


# Fill the catalogue and die by SIGKILL: after a chunk was committed and others are on their way, or while the server
# adds the keys.
KILLED_SEEDER = """
import os, signal, sys
import django; django.setup()
from django.core.management import call_command
from products.seeding import bulk_loader, generator

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def rows_until_death(*args):
    for number, row in enumerate(product_rows(*args)):
        if number == 25_000:
            die()
        yield row

def execute_until_death(raw, sql, *args):
    if sql.startswith("ALTER TABLE `products_product__new_") and " ADD KEY " in sql:
        raw.send_query(sql)  # without reading the result
        die()
    return execute(raw, sql, *args)

product_rows, execute = generator.product_rows, bulk_loader.execute
if sys.argv[1] == "loading":
    generator.product_rows = rows_until_death
else:
    bulk_loader.execute = execute_until_death
call_command("seed_products", 30_000, sys.argv[2])
"""


def seed_until_killed(environment: dict[str, str], moment: str, option: str) -> None:
    command = [sys.executable, "-c", KILLED_SEEDER, moment, option]
    seeder = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    assert seeder.returncode == -signal.SIGKILL
    with pytest.raises(CommandError, match="another load is running"):
        seed(10, "--reset")
    end_lease()


@pytest.mark.parametrize("moment", ["loading", "adding keys"])
def test_killed_reset_keeps_the_old_catalogue(database_environment: dict[str, str], moment: str) -> None:
    if moment == "adding keys" and is_on_galera():
        pytest.skip("a load on Galera adds the keys to empty tables")
    seed(1_000)
    before, expected_keys = content(), keys("products_product")
    seed_until_killed(database_environment, moment, "--reset")
    assert any(name.startswith("products_product__new_") for name in leftovers())
    assert content() == before
    assert keys("products_product") == expected_keys
    seed(2_000, "--reset")
    assert Product.objects.count() == 2_000
    assert keys("products_product") == expected_keys
    assert leftovers() == []


def test_killed_append_leaves_whole_chunks(database_environment: dict[str, str]) -> None:
    seed(1_000)
    before = content()
    seed_until_killed(database_environment, "loading", "--append")
    added = Product.objects.count() - 1_000
    chunks = {bulk_loader.CHUNK_ROWS, 2 * bulk_loader.CHUNK_ROWS}
    assert added in (range(1, 25_001) if is_on_galera() else chunks)  # on Galera, chunks are as large as they are fast
    assert content()[:1_000] == before


def test_progress_is_shown_on_a_terminal_only(database_environment: dict[str, str]) -> None:
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, "manage.py", "seed_products", "1000", "--reset"]

    def run(stderr: int) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, env=database_environment, stdout=subprocess.PIPE, stderr=stderr, check=True)

    on_terminal = run(terminal)
    os.close(terminal)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert b"1.00k/1.00k" in shown
    if not is_on_galera():
        assert shown.count(b"\r00:00") >= 2  # the clocks of the search index and of the keys
    assert b"1,000 products in" in on_terminal.stdout
    assert run(subprocess.PIPE).stderr == b""
