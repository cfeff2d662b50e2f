from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import termios
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import MySQLdb
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count
from MySQLdb.cursors import Cursor

from dev.testing.databases import is_statement_running
from dev.testing.waiting import wait_until
from products.models import Farm, Posting, Product
from products.seeding import bulk_loader, generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture(autouse=True)
def empty_catalogue() -> Iterator[None]:
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
    """The indexes and foreign keys of a table by what they are, whatever their names."""
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
    with pytest.raises(CommandError, match="say --reset"):
        seed(30)
    with pytest.raises(CommandError, match="not allowed with"):
        seed(30, "--reset", "--append")
    seed(30, "--if-empty")
    assert Product.objects.count() == 20
    Product.objects.all()._raw_delete(using="default")
    with pytest.raises(CommandError, match="say --reset"):
        seed(30)  # farms are a catalogue too
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


def test_rows_are_inserted_if_local_files_are_refused() -> None:
    farms = generator.farm_rows(1, 2)
    rows = list(generator.product_rows(1, 2_500, farms))
    counts: list[int] = []
    with closing(MySQLdb.connect(**connection.get_connection_params() | {"local_infile": 0})) as raw:
        bulk_loader.load(raw, "products_farm", generator.FARM_COLUMNS, farms, lambda _: None)
        bulk_loader.load(raw, "products_product", generator.PRODUCT_COLUMNS, rows, counts.append)
        assert int(dict(bulk_loader.execute(raw, "SHOW SESSION STATUS LIKE 'Com_insert'"))["Com_insert"]) > 0
    by_insert = content()
    assert sum(counts) == 2_500
    with bulk_loader.bulk_connection() as raw:
        bulk_loader.execute(raw, "DELETE FROM products_product")
        bulk_loader.load(raw, "products_product", generator.PRODUCT_COLUMNS, rows, counts.append)
    assert by_insert == content()


def test_unsupported_statement_differs_from_a_failure() -> None:
    with bulk_loader.connect() as raw, pytest.raises(MySQLdb.Error) as not_supported:
        bulk_loader.execute(raw, "SELECT 1 WHERE 1 IN (SELECT 1 LIMIT 1)")
    with bulk_loader.connect() as raw, pytest.raises(MySQLdb.Error) as no_such_table:
        bulk_loader.execute(raw, "SELECT 1 FROM nowhere")
    errors = {
        not_supported.value: True,
        MySQLdb.OperationalError(1105, "vtgate: http://vtgate:15000/: syntax error at position 5 near 'LOAD'"): True,
        MySQLdb.OperationalError(1105, "direct DDL is disabled"): True,
        no_such_table.value: False,
        MySQLdb.OperationalError(1105, "target: catalogue.-.primary: vttablet: connection reset"): False,
        MySQLdb.OperationalError(2013, "Lost connection to server during query"): False,
        MySQLdb.InterfaceError(0, ""): False,
        MySQLdb.ProgrammingError("not all arguments converted"): False,
    }
    assert {error: bulk_loader.is_unavailable(error) for error in errors} == errors


class VitessCursor(Cursor):  # type: ignore[misc]  # the driver has no types
    """The real server, without the statements that Vitess refuses, and with its errors."""

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


def test_row_that_does_not_fit_stops_the_load() -> None:
    farms = generator.farm_rows(1, 1)
    bad = [*farms, ("2", "x" * 151, farms[0][2])]
    for local_infile in (1, 0):
        with closing(MySQLdb.connect(**connection.get_connection_params() | {"local_infile": local_infile})) as raw:
            with pytest.raises(bulk_loader.LoadError, match=r"products_farm: Data (too long|truncated)"):
                bulk_loader.load(raw, "products_farm", generator.FARM_COLUMNS, bad, lambda _: None)
            assert Farm.objects.count() == 0


def test_appended_products_are_seen_although_the_load_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of the rest."""

    def page() -> tuple[str, int]:
        answer = client.get("/products?limit=100")
        return answer["X-Cache"], len(answer.json()["results"])

    def rows(*args: Any) -> Iterator[bulk_loader.Row]:
        yield from islice(good(*args), 10)
        yield ("not", "a", "product")

    good = generator.product_rows
    assert [page(), page()] == [("miss", 0), ("hit", 0)]
    with monkeypatch.context() as patched:
        patched.setattr(generator, "product_rows", rows)
        patched.setattr(bulk_loader, "CHUNK_ROWS", 10)
        with pytest.raises(CommandError, match="the load failed"):
            seed(20, "--append")
    assert page() == ("miss", 10)


def test_table_with_a_foreign_reference_is_not_replaced() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE review (product_id BIGINT)")
        cursor.execute("ALTER TABLE review ADD FOREIGN KEY (product_id) REFERENCES products_product (id)")
        try:
            with pytest.raises(CommandError, match="review refers to products_product"):
                seed(10, "--reset")
        finally:
            cursor.execute("DROP TABLE review")


def test_only_one_load_runs_at_a_time() -> None:
    with bulk_loader.bulk_connection(), pytest.raises(CommandError, match="another load is running"):
        seed(10, "--reset")


def leftovers() -> list[str]:
    return [table for table in connection.introspection.table_names() if "__" in table]


KILL_WHEN = {
    "loading": lambda: "products_product__new" in leftovers(),
    "adding keys": lambda: is_statement_running("ALTER TABLE `products_product__new` ADD"),
}


@pytest.mark.parametrize("moment", KILL_WHEN)
def test_killed_reset_keeps_the_old_catalogue(database_environment: dict[str, str], moment: str) -> None:
    seed(1_000)
    before, expected_keys = content(), keys("products_product")
    kill_when(KILL_WHEN[moment], database_environment, "--reset")
    assert content() == before
    assert keys("products_product") == expected_keys
    wait_until(_server_noticed, 180)
    seed(2_000, "--reset")
    assert Product.objects.count() == 2_000
    assert keys("products_product") == expected_keys
    assert leftovers() == []


def test_killed_append_leaves_whole_chunks(database_environment: dict[str, str]) -> None:
    seed(1_000)
    before = content()
    kill_when(lambda: Product.objects.count() > 1_000, database_environment, "--append")
    wait_until(_server_noticed, 180)
    count = Product.objects.count()
    assert count > 1_000
    assert (count - 1_000) % bulk_loader.CHUNK_ROWS == 0
    assert content()[:1_000] == before


def kill_when(condition: Callable[[], object], environment: dict[str, str], flag: str) -> None:
    """Starts a load of its own, and kills it as soon as the condition holds."""
    command = [sys.executable, "manage.py", "seed_products", "150000", flag]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    wait_until(condition, 60)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def _server_noticed() -> bool:
    """The server keeps a dead client's statement, and its lock, until it wants to answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT IS_FREE_LOCK(%s)", [bulk_loader.lock_name()])
        return bool(cursor.fetchone()[0])


def test_progress_is_shown_on_a_terminal_only(database_environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "manage.py", "seed_products", "1000", "--reset"]
    done = subprocess.run(command, env=database_environment, stderr=theirs, stdout=subprocess.PIPE, check=True)
    os.close(theirs)
    assert b"1.00k/1.00k" in os.read(ours, 100_000)
    os.close(ours)
    assert b"1,000 products in" in done.stdout
    quiet = subprocess.run(command, env=database_environment, capture_output=True, check=True)
    assert quiet.stderr == b""
