"""Rows of an import: what each would change, and the columns that are wrong."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.testing.offers import make_farm, make_offer
from products import vocabulary
from products.files.columns import COLUMNS, TEXT_COLUMNS, escape, texts_of
from products.files.csv_files import write_csv
from products.files.rows import BadRowError, Catalogue, Change, check
from products.files.tables import Row, read_table
from products.files.xlsx_files import write_xlsx
from products.models import Commodity, Product

pytestmark = pytest.mark.django_db


def catalogue(*products: Product) -> Catalogue:
    return Catalogue({product.pk: product for product in products}, vocabulary.current().names["commodity"])


def change_of(product: Product | None = None, **cells: Any) -> Change:
    texts = {"id": str(product.pk) if product else "", **cells}
    row = Row(2, [str(text) for text in texts.values()])
    return check(list(texts), row, catalogue(*([product] if product else [])))


def reason_of(product: Product | None = None, **cells: Any) -> str:
    with pytest.raises(BadRowError) as raised:
        change_of(product, **cells)
    return str(raised.value)


def new_cells(**cells: Any) -> dict[str, Any]:
    return {"name": "Mango", "commodity": "mango", "grade": "A", "farm": make_farm().pk, "price": "12.50"} | cells


def exported_cells(product: Product) -> list[str]:
    texts = texts_of(vars(product), vocabulary.current().names["commodity"])
    return [escape(texts[column]) if column in TEXT_COLUMNS else texts[column] for column in COLUMNS]


def test_row_without_an_id_creates_a_product_with_defaults() -> None:
    assert change_of(**new_cells(stock="", unit="", listed="", variety="")).apply()
    product = Product.objects.get()
    assert (product.name, product.price, product.unit, product.stock) == ("Mango", Decimal("12.50"), "kg", 0)
    assert (product.organic, product.is_active, product.description) == (False, True, "")


def test_row_with_every_column_creates_a_withdrawn_product() -> None:
    cells = new_cells(description="'=sweet\n", variety="007", unit="dozen", stock=5, organic="TRUE", listed="No")
    assert change_of(**cells).apply()
    product = Product.objects.get()
    assert (product.description, product.variety, product.unit) == ("=sweet", "007", "dozen")
    assert (product.stock, product.organic, product.is_active) == (5, True, False)


def test_row_with_an_id_changes_only_its_columns() -> None:
    product = make_offer(variety="Alphonso", stock=10)
    change = change_of(product, price="45.5", stock="10")
    assert change.cells == [["price", "120.00", "45.5"]]
    assert change.apply()
    product.refresh_from_db()
    assert (product.price, product.variety, product.stock, product.version) == (Decimal("45.50"), "Alphonso", 10, 2)


def test_withdrawn_product_is_listed_again() -> None:
    product = make_offer(is_active=False)
    assert change_of(product, listed="yes").apply()
    assert Product.objects.listed().count() == 1


def test_other_spelling_of_the_same_value_changes_nothing() -> None:
    product = make_offer(description="a\r\nb")
    cells = {"price": "120", "organic": "FALSE", "listed": " true ", "stock": "010", "description": "a\nb"}
    change = change_of(product, **cells)
    assert (change.fields, change.cells) == ({}, [])
    assert not change.apply()


def test_empty_cell_clears_an_optional_text() -> None:
    product = make_offer(description="sweet", variety="Alphonso")
    assert change_of(product, description="", variety="").apply()
    product.refresh_from_db()
    assert (product.description, product.variety) == ("", "")


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("price", "12,50", 'with a point before at most two decimals, and no commas (it is "12,50").'),
        ("price", "1,250.00", 'and no commas (it is "1,250.00").'),
        ("price", "12.505", 'at most two decimals, and no commas (it is "12.505").'),
        ("price", "0", "must be rupees from 0.01 to 99999999.99"),
        ("price", "", "price: must be rupees from 0.01"),
        ("name", "", 'name: must not be blank (it is "").'),
        ("name", "?!", 'name: must have a letter or a digit (it is "?!").'),
        ("name", "two\nlines", "name: must be one line, without control characters"),
        ("name", "x" * 201, "name: must have at most 200 characters"),
        ("description", "bell \x07", "description: must have no control characters"),
        ("commodity", "Mango", 'commodity: is not the slug of a commodity (it is "Mango").'),
        ("grade", "a", 'grade: must be one of A, B, C (it is "a").'),
        ("unit", "kilo", 'unit: must be one of kg, quintal, litre, dozen, piece, bunch (it is "kilo").'),
        ("farm", "999999", 'farm: is not the id of a farm (it is "999999").'),
        ("farm", "Patil", 'farm: must be a whole number (it is "Patil").'),
        ("stock", "1,000", 'stock: must be a whole number (it is "1,000").'),
        ("stock", "-1", 'stock: must be a whole number (it is "-1").'),
        ("stock", "9" * 18, "stock: must be 2147483647 or less"),
        ("organic", "maybe", 'organic: must be yes or no (it is "maybe").'),
        ("listed", "", 'listed: must be yes or no (it is "").'),
    ],
)
def test_bad_cell_is_named_with_its_value(column: str, text: str, reason: str) -> None:
    assert reason in reason_of(make_offer(), **{column: text})


def test_all_bad_cells_of_a_row_are_named() -> None:
    reason = reason_of(**new_cells(price="x", grade="D", stock="many"))
    assert all(f"{column}: must be" in reason for column in ("price", "grade", "stock"))


def test_new_product_needs_its_columns() -> None:
    assert reason_of(name="Mango", price="1") == ("commodity: is required. grade: is required. farm: is required.")


@pytest.mark.parametrize("text", ["abc", "1.0", "-7", "1" * 19])
def test_malformed_id_is_refused(text: str) -> None:
    assert "id: must be a whole number, or empty for a new product" in reason_of(id=text, price="1")


def test_unknown_id_is_refused() -> None:
    assert reason_of(id="999999", price="1") == "id: no product has the id 999999."


@pytest.mark.parametrize("count", [1, 3])
def test_row_with_another_number_of_cells_is_refused(count: int) -> None:
    with pytest.raises(BadRowError, match=f"has {count} cells, but the first row names 2 columns"):
        check(["id", "price"], Row(2, ["7"] * count), catalogue())


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
XML_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=30)


def product_of(name: str, description: str) -> Product:
    return Product(
        pk=7,
        name=f"{name}a",
        description=description,
        variety="'007",
        commodity=Commodity.objects.get(slug="mango"),
        farm_id=1,
        grade="A",
        price=Decimal("12.10"),
    )


def assert_changes_nothing(product: Product, content: bytes) -> None:
    table = read_table(io.BytesIO(content))
    (row,) = table.rows
    change = check(table.columns, row, catalogue(product))
    assert (change.fields, change.cells) == ({}, [])


@given(TEXTS, TEXTS)
def test_exported_csv_changes_nothing(name: str, description: str) -> None:
    """Even a text that the rules of today would refuse."""
    product = product_of(name, description)
    assert_changes_nothing(product, write_csv([COLUMNS, exported_cells(product)]).encode())


@given(XML_TEXTS, XML_TEXTS)
def test_exported_xlsx_changes_nothing(name: str, description: str) -> None:
    product = product_of(name, description)
    file = io.BytesIO()
    write_xlsx(file, [COLUMNS, exported_cells(product)])
    assert_changes_nothing(product, file.getvalue())
