"""The bulk loader adds whole chunks of rows, by any statement that the server offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import MySQLdb
import pytest
from django.db import connection

from products.models import Farm, Product
from products.seeding import bulk_loader, generator

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture(autouse=True)
def _delete_catalogue(live_database: None) -> Iterator[None]:
    yield
    Product.objects.all().delete()
    Farm.objects.all().delete()


def test_rows_are_inserted_if_local_files_are_refused() -> None:
    farms = generator.farm_rows(1, 2)
    rows = list(generator.product_rows(1, 2_500, farms))
    counts: list[int] = []
    with closing(MySQLdb.connect(**connection.get_connection_params() | {"local_infile": 0})) as raw:
        bulk_loader.load(raw, "products_farm", generator.FARM_COLUMNS, farms, lambda _: None)
        bulk_loader.load(raw, "products_product", generator.PRODUCT_COLUMNS, rows, counts.append)
        assert int(dict(bulk_loader.execute(raw, "SHOW SESSION STATUS LIKE 'Com_insert'"))["Com_insert"]) > 0
    inserted = list(Product.objects.order_by("pk").values())
    assert sum(counts) == 2_500
    with bulk_loader.connect() as raw:
        bulk_loader.execute(raw, "DELETE FROM products_product")
        bulk_loader.load(raw, "products_product", generator.PRODUCT_COLUMNS, rows, counts.append)
    assert inserted == list(Product.objects.order_by("pk").values())


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


def test_row_that_does_not_fit_stops_the_load() -> None:
    farms = generator.farm_rows(1, 1)
    bad = [*farms, ("2", "x" * 151, farms[0][2])]
    for local_infile in (1, 0):
        with closing(MySQLdb.connect(**connection.get_connection_params() | {"local_infile": local_infile})) as raw:
            with pytest.raises(bulk_loader.LoadError, match=r"products_farm: Data (too long|truncated)"):
                bulk_loader.load(raw, "products_farm", generator.FARM_COLUMNS, bad, lambda _: None)
            assert Farm.objects.count() == 0
