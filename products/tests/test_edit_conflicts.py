"""Two writers change a product at the same time: no change is lost, and nothing is typed twice."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from dev.testing.offers import make_farm, make_offer
from dev.testing.staff import make_staff
from farmlokal.acting import acting_as
from products import services
from products.models import Commodity, Product

pytestmark = pytest.mark.django_db


class Tab:
    """A browser's tab with the product's form, without JavaScript."""

    def __init__(self, client: Client, product: Product) -> None:
        self.client, self.url = client, f"/admin/products/product/{product.pk}/change/"
        self.read(client.get(self.url))

    def read(self, page: Any) -> None:
        self.form = page.context["adminform"].form
        self.values = {bound.name: bound.value() for bound in self.form}
        self.page = page.content.decode()

    def save(self, **typed: Any) -> bool:
        """Change these fields and press Save. False if the form comes back."""
        self.values |= typed
        text = {name: "on" if value is True else value for name, value in self.values.items() if value is not False}
        text = {name: str(value).replace("\n", "\r\n") for name, value in text.items() if value is not None}
        response = self.client.post(self.url, text)
        if response.status_code == 302:
            return True
        self.read(response)
        return False

    @property
    def conflicts(self) -> list[tuple[str, ...]]:
        return [tuple(conflict) for conflict in self.form.conflicts]


@pytest.fixture
def product() -> Product:
    return make_offer(description="Ripe.\nSweet.", price=Decimal("50.00"), stock=10, organic=True)


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(make_staff("view_product", "change_product", "view_farm", "view_commodity", name="anna"))
    return client


@pytest.fixture
def bala() -> Client:
    client = Client()
    client.force_login(make_staff("view_product", "change_product", "view_farm", "view_commodity", name="bala"))
    return client


def test_second_save_keeps_both_changes(anna: Client, bala: Client, product: Product) -> None:
    slow, fast = Tab(anna, product), Tab(bala, product)
    assert fast.save(price="47.50", organic=False)
    assert not slow.save(stock="3", description="Sour.")
    assert slow.conflicts == [
        ("Price in rupees", "50.00", "47.50", "bala", "47.50"),
        ("Organic", "Yes", "No", "bala", "No"),
    ]
    assert (slow.values["stock"], slow.values["description"]) == ("3", "Sour.")
    assert Product.objects.get().stock == 10
    assert slow.save()
    saved = Product.objects.get()
    assert (saved.price, saved.organic, saved.stock, saved.description) == (Decimal("47.50"), False, 3, "Sour.")
    newest = product.history.first()
    assert (newest.history_user, newest.before) == ("anna", {"stock": 10, "description": "Ripe.\nSweet."})


def test_field_that_both_changed_keeps_what_was_typed_last(anna: Client, product: Product) -> None:
    tab = Tab(anna, product)
    with acting_as("partner"):
        services.change(product.pk, price=Decimal("47.50"))
    assert not tab.save(price="60.00")
    assert tab.conflicts == [("Price in rupees", "50.00", "47.50", "partner", "60.00")]
    assert Product.objects.get().price == Decimal("47.50")
    assert tab.save()
    assert Product.objects.get().price == Decimal("60.00")


def test_page_explains_the_conflict(anna: Client, product: Product) -> None:
    farm, onion = make_farm("Joshi Farm"), Commodity.objects.get(slug="onion")
    tab = Tab(anna, product)
    services.change(product.pk, farm=farm, commodity=onion, unit="dozen", variety="Red")
    assert not tab.save(name="Onion")
    assert [conflict[:3] for conflict in tab.conflicts] == [
        ("Commodity", "Mango", "Onion"),
        ("Variety", "", "Red"),
        ("Farm", "Patil Farm, Ratnagiri", "Joshi Farm"),
        ("Unit", "kilogram", "dozen"),
    ]
    for text in ("has changed since this page was opened", "Your entries are still", "Joshi Farm", "system"):
        assert text in tab.page
    assert tab.save()
    saved = Product.objects.get()
    assert (saved.name, saved.farm, saved.commodity, saved.unit) == ("Onion", farm, onion, "dozen")


def test_third_writer_makes_a_second_conflict(anna: Client, product: Product) -> None:
    tab = Tab(anna, product)
    services.change(product.pk, price=Decimal("47.50"))
    assert not tab.save(stock="3")
    services.change(product.pk, price=Decimal("48.00"))
    assert not tab.save()
    assert tab.conflicts == [("Price in rupees", "47.50", "48.00", "system", "48.00")]
    assert tab.save()
    saved = Product.objects.get()
    assert (saved.price, saved.stock) == (Decimal("48.00"), 3)


def test_withdrawal_by_another_is_not_undone(anna: Client, product: Product) -> None:
    tab = Tab(anna, product)
    services.withdraw(product.pk)
    assert not tab.save(stock="3")
    assert tab.values["is_active"] is False
    assert tab.save()
    saved = Product.objects.get()
    assert (saved.is_active, saved.stock) == (False, 3)


def test_change_that_was_undone_is_no_conflict(anna: Client, product: Product) -> None:
    tab = Tab(anna, product)
    for price in ("47.50", "50.00"):
        services.change(product.pk, price=Decimal(price))
    assert tab.save(stock="3")


def test_change_without_history_is_shown_too(anna: Client, product: Product) -> None:
    tab = Tab(anna, product)
    Product.objects.update(price=Decimal("47.50"), version=2)
    assert not tab.save(stock="3")
    assert tab.conflicts == [("Price in rupees", "50.00", "47.50", "", "47.50")]
    assert "unknown" in tab.page


def test_invalid_entry_is_reported_beside_the_conflict(anna: Client, product: Product) -> None:
    tab = Tab(anna, product)
    services.change(product.pk, stock=3)
    assert not tab.save(price="cheap")
    assert set(tab.form.errors) == {"price", "__all__"}
    assert tab.values["price"] == "cheap"
    assert not tab.save()
    assert set(tab.form.errors) == {"price"}
    assert tab.save(price="60.00")
    saved = Product.objects.get()
    assert (saved.price, saved.stock) == (Decimal("60.00"), 3)


@pytest.mark.parametrize(
    "shown", ["", "null", "[]", "{", "[" * 50_000, json.dumps({"farm": "x", "commodity": "9" * 40, "price": [1]})]
)
def test_damaged_form_stores_nothing_unseen(anna: Client, product: Product, shown: str) -> None:
    tab = Tab(anna, product)
    services.change(product.pk, price=Decimal("47.50"))
    assert not tab.save(shown_values=shown, stock="3")
    assert "Price in rupees" in [conflict[0] for conflict in tab.conflicts]
    assert Product.objects.get().stock == 10
    assert tab.save()
    assert Product.objects.get().stock == 3


@pytest.mark.parametrize("version", ["x", "-1", "9" * 40])
def test_unknown_version_is_a_conflict_only_if_values_differ(anna: Client, product: Product, version: str) -> None:
    tab = Tab(anna, product)
    services.change(product.pk, price=Decimal("47.50"))
    assert not tab.save(shown_version=version, stock="3")
    assert tab.save(shown_version=version, stock="3")
