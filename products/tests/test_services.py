"""Functions that create, change and withdraw products, and the values that they refuse."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries

from dev.testing.offers import make_farm, make_offer
from products import services
from products.models import MAX_STOCK, Commodity, Posting, Product

pytestmark = pytest.mark.django_db


def fields(**others: Any) -> Any:
    mango = Commodity.objects.get(slug="mango")
    defaults = {"name": "Mango", "commodity": mango, "grade": "A", "farm": make_farm(), "price": Decimal("9.50")}
    return defaults | others


def terms(product: Product) -> set[str]:
    return set(Posting.objects.filter(product_id=product.pk).values_list("term", flat=True))


def test_new_product_has_defaults_derived_fields_and_words() -> None:
    product = Product.objects.get(pk=services.create(**fields()).pk)
    assert (product.unit, product.stock, product.organic, product.version) == ("kg", 0, False, 1)
    assert (product.slug, product.category.slug, product.state.slug) == ("mango", "fruits", "maharashtra")
    assert {"mango", "ratnagiri"} <= terms(product)


def test_change_increments_version_and_updates_words() -> None:
    product = make_offer(name="Mango")
    changed = services.change(product.pk, name="Red Onion", commodity=Commodity.objects.get(slug="onion"))
    stored = Product.objects.get()
    assert (stored.name, stored.category.slug, stored.version) == ("Red Onion", "vegetables", 2)
    assert changed.version == 2
    assert stored.updated_at > product.updated_at
    assert "red" in terms(product)
    assert "mango" not in terms(product)


def test_change_to_equal_values_writes_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    product = make_offer(price=Decimal("5.00"), stock=3)
    with django_assert_num_queries(3):  # savepoint, the row, release
        services.change(product.pk, price=Decimal(5), stock=3)
    assert Product.objects.get().version == 1


def test_withdrawn_product_keeps_its_row_but_refuses_writes() -> None:
    product = make_offer()
    services.withdraw(product.pk)
    assert not Product.objects.get().is_active
    assert terms(product) == set()
    with pytest.raises(Product.DoesNotExist):
        services.withdraw(product.pk)
    with pytest.raises(Product.DoesNotExist):
        services.change(product.pk, stock=1)
    assert Product.objects.get().version == 2


@pytest.mark.parametrize("pk", [0, -1, 10**17, 10**30])
def test_change_of_an_unknown_product_is_refused(pk: int) -> None:
    with pytest.raises(Product.DoesNotExist):
        services.change(pk, stock=1)


INVALID_FIELDS: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "x" * 201},
    {"variety": "x" * 101},
    {"grade": "D"},
    {"unit": "ton"},
    {"price": Decimal(0)},
    {"price": Decimal(-1)},
    {"price": Decimal("0.001")},
    {"price": Decimal(100_000_000)},
    {"price": Decimal("NaN")},
    {"price": None},
    {"stock": -1},
    {"stock": MAX_STOCK + 1},
    {"organic": "perhaps"},
]


@pytest.mark.parametrize("invalid", INVALID_FIELDS, ids=str)
def test_invalid_values_are_refused(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        services.create(**fields(**invalid))
    assert refused.value.message_dict.keys() == invalid.keys()
    product = make_offer()
    with pytest.raises(ValidationError):
        services.change(product.pk, **invalid)
    assert Product.objects.get().version == 1


def test_only_changed_fields_are_validated() -> None:
    product = make_offer()
    Product.objects.update(grade="Z")
    services.change(product.pk, stock=1)
    assert Product.objects.get().stock == 1
