"""Each write records one change: what, when, and by whom. Nothing else is written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.staff import make_staff, patch_product, post_product, product_body
from farmlokal.acting import acting_as
from farmlokal.jobs.models import Job
from products import services
from products.history.records import MAX_ACTOR_LENGTH, changes
from products.models import Category, Commodity, District, Farm, Product, State

pytestmark = pytest.mark.django_db

PRODUCTS_URL = "/admin/products/product/"


@pytest.fixture
def product() -> Product:
    """As a seeded one: without history."""
    (product,) = make_offers([{"name": "Mango", "price": Decimal("50.00")}])
    return product


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(make_staff("view_product", "add_product", "change_product", "change_farm", name="anna"))
    return client


def recorded(product: Product) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row.history_type, row.history_user, row.before) for row in product.history.order_by("history_id")]


def form_of(product: Product, **fields: Any) -> dict[str, Any]:
    names = ("name", "description", "commodity_id", "variety", "grade", "farm_id", "price", "unit", "stock")
    values = {name.removesuffix("_id"): getattr(product, name) for name in names}
    return values | {"is_active": "on", "shown_version": product.version} | fields


def test_admin_form_records_by_the_user(anna: Client, product: Product) -> None:
    url = f"{PRODUCTS_URL}{product.pk}/change/"
    assert anna.post(url, form_of(product, price="9.00", stock=5)).status_code == 302
    assert recorded(product) == [("~", "anna", {"price": "50.00", "stock": 0})]
    row = product.history.get()
    assert (row.price, row.stock, row.name, row.version) == (Decimal("9.00"), 5, "Mango", 2)
    assert abs((timezone.now() - row.history_date).total_seconds()) < 60


def test_withdraw_action_records_by_the_job_of_the_user(anna: Client, product: Product) -> None:
    anna.post(f"{PRODUCTS_URL}bulk/?action=withdraw&ids={product.pk}")
    assert recorded(product) == [("~", f"job {Job.objects.get().pk} of anna", {"is_active": True})]


def test_api_writes_record_by_the_user(anna: Client) -> None:
    assert post_product(anna, product_body(name="Onion")).status_code == 201
    onion = Product.objects.get()
    assert patch_product(anna, onion, {"price": "47.50"}).status_code == 200
    assert anna.delete(f"/products/{onion.pk}").status_code == 204
    assert recorded(onion) == [
        ("+", "anna", {}),
        ("~", "anna", {"price": "120.50"}),
        ("~", "anna", {"is_active": True}),
    ]


def test_save_in_a_command_records_by_system(product: Product) -> None:
    product.price = Decimal("60.00")
    product.save()
    assert recorded(product) == [("~", "system", {"price": "50.00"})]


def test_job_records_under_its_name(product: Product) -> None:
    with acting_as("job 12 of anna"):
        services.change(product.pk, stock=7)
    with acting_as("x" * 300):
        services.change(product.pk, stock=8)
    assert recorded(product) == [
        ("~", "job 12 of anna", {"stock": 0}),
        ("~", "x" * MAX_ACTOR_LENGTH, {"stock": 7}),
    ]


def test_unchanged_saves_record_nothing(anna: Client, product: Product) -> None:
    anna.post(f"{PRODUCTS_URL}{product.pk}/change/", form_of(product))
    patch_product(anna, product, {"price": "50.00"})
    services.change(product.pk, name="Mango")
    product.save()
    product.farm.save()
    product.commodity.save()
    assert recorded(product) == []
    assert not Commodity.history.exists()
    assert product.farm.history.count() == 1  # it was created


def test_derived_fields_are_not_recorded(product: Product) -> None:
    farm = make_farm(district="nashik")
    services.change(product.pk, farm=farm)
    assert recorded(product) == [("~", "system", {"farm_id": product.farm_id})]
    columns = {field.attname for field in Product.history.model._meta.fields}
    assert not columns & {"words", "slug", "category_id", "district_id", "state_id", "created_at", "updated_at"}


def test_rollback_leaves_no_history(product: Product) -> None:
    with transaction.atomic():
        services.change(product.pk, stock=7)
        assert recorded(product)
        transaction.set_rollback(True)
    assert recorded(product) == []


def test_farm_records_its_names(anna: Client) -> None:
    farm = make_farm("Patil Farm")
    assert anna.post(f"/admin/products/farm/{farm.pk}/change/", {"name": "Patil Orchard"}).status_code == 302
    rows = farm.history.order_by("history_id")
    assert [(row.history_user, row.name, row.before) for row in rows] == [
        ("system", "Patil Farm", {}),
        ("anna", "Patil Orchard", {"name": "Patil Farm"}),
    ]


@pytest.mark.parametrize("model", [Category, Commodity, State, District])
def test_vocabulary_records_its_names(model: Any) -> None:
    entry = model.objects.first()
    old, entry.name = entry.name, "New"
    entry.save()
    assert [(row.history_type, row.name, row.before) for row in entry.history.all()] == [("~", "New", {"name": old})]


def test_many_changes_are_one_insert(product: Product) -> None:
    before, other = Product.objects.get(pk=product.pk), make_offer()
    product.stock = 3
    with CaptureQueriesContext(connection) as queries, acting_as("job 1 of anna"):
        Product.history.model.objects.bulk_create(changes([(before, product), (other, other), (None, other)]))
    assert len(queries) == 1
    assert recorded(product) == [("~", "job 1 of anna", {"stock": 0})]
    assert recorded(other)[1:] == [("+", "job 1 of anna", {})]


def test_reindexing_records_nothing(product: Product) -> None:
    Farm.objects.filter(pk=product.farm_id).update(name="Joshi Farm")
    call_command("reindex_search", verbosity=0)
    assert "joshi" in Product.objects.get(pk=product.pk).words
    assert recorded(product) == []


def test_deletion_in_a_shell_is_recorded(product: Product) -> None:
    pk = product.pk
    product.delete()
    assert [(row.id, row.history_type, row.history_user) for row in Product.history.all()] == [(pk, "-", "system")]
