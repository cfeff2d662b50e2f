"""The number of SQL statements of each write, as the server counts them.

The tests' client does not check the connection, and four statements authenticate it: its session, its user, and the
user's own and group permissions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client

from dev.testing.databases import statements_sent
from dev.testing.offers import make_farm, make_offer
from dev.testing.staff import make_staff, product_body
from products.models import IdempotencyKey, Product

pytestmark = pytest.mark.usefixtures("live_database")

AUTHENTICATION = 4


@pytest.fixture
def staff(live_database: None) -> Iterator[Client]:
    """Its process knows the names of the vocabulary already."""
    client = Client()
    client.force_login(make_staff())
    client.post("/products", product_body(), "application/json")
    yield client
    for model in (IdempotencyKey, Session, get_user_model()):
        model._default_manager.all().delete()


@pytest.fixture
def product() -> Product:
    return make_offer()


def statements_of(staff: Client, method: str, url: str, body: object = None, **headers: str) -> int:
    def send() -> None:
        response = getattr(staff, method)(url, body, "application/json", headers=headers)
        assert response.status_code < 300

    return statements_sent(send) - AUTHENTICATION


def test_post_takes_nine_statements(staff: Client) -> None:
    # SELECT commodity; SELECT farm, district and state
    # BEGIN
    # SELECT the farm's name FOR UPDATE
    # INSERT product, its history and its postings
    # SELECT the product's document
    # COMMIT
    assert statements_of(staff, "post", "/products", product_body(farm=make_farm().pk)) == 9


def test_post_with_a_key_takes_five_more(staff: Client) -> None:
    # SELECT key; SELECT key FOR UPDATE NOWAIT, for a request that has not committed; INSERT key
    # UPDATE key, with the response
    # after the commit: SELECT expired keys
    headers = {"Idempotency-Key": "k1"}
    assert statements_of(staff, "post", "/products", product_body(farm=make_farm().pk), **headers) == 14


def test_patch_of_the_price_takes_seven_statements(staff: Client, product: Product) -> None:
    # BEGIN
    # SELECT product FOR UPDATE
    # UPDATE product; INSERT history; UPDATE postings
    # SELECT the product's document
    # COMMIT
    assert statements_of(staff, "patch", f"/products/{product.pk}", {"price": "45.00"}) == 7


def test_if_match_takes_one_statement_more(staff: Client, product: Product) -> None:
    # SELECT the product's document, after its lock
    etag = staff.get(f"/products/{product.pk}")["ETag"]
    headers = {"If-Match": etag}
    assert statements_of(staff, "patch", f"/products/{product.pk}", {"price": "45.00"}, **headers) == 8


def test_patch_without_a_change_takes_four_statements(staff: Client, product: Product) -> None:
    # BEGIN
    # SELECT product FOR UPDATE
    # SELECT the product's document
    # COMMIT
    assert statements_of(staff, "patch", f"/products/{product.pk}", {"stock": product.stock}) == 4


def test_patch_of_the_name_takes_twelve_statements(staff: Client, product: Product) -> None:
    # BEGIN
    # SELECT product FOR UPDATE
    # SELECT the farm's name FOR UPDATE; SELECT farm, district and state; SELECT commodity
    # UPDATE product; INSERT history; DELETE, UPDATE and INSERT postings
    # SELECT the product's document
    # COMMIT
    assert statements_of(staff, "patch", f"/products/{product.pk}", {"name": "Banana"}) == 12


def test_delete_takes_six_statements(staff: Client, product: Product) -> None:
    # BEGIN
    # SELECT product FOR UPDATE
    # UPDATE product; INSERT history; DELETE postings
    # COMMIT
    assert statements_of(staff, "delete", f"/products/{product.pk}") == 6
