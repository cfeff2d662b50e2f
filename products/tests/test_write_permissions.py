"""Writes need a staff user with the permission, and with a session also a CSRF token."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dev.testing.offers import make_offer
from dev.testing.staff import make_staff, patch_product, post_product, product_body, session_headers
from products.models import Product

pytestmark = pytest.mark.django_db


def write_as(client: Client, product: Product, **headers: str) -> list[Any]:
    return [
        post_product(client, product_body(), **headers),
        patch_product(client, product, {"stock": 99}, **headers),
        client.delete(f"/products/{product.pk}", headers=headers),
    ]


def test_anonymous_writes_are_401_with_any_body(client: Client) -> None:
    product = make_offer()
    for response in (*write_as(client, product), post_product(client, "{"), client.delete("/products/999")):
        assert (response.status_code, response.json()["code"]) == (401, "not-authenticated")
        assert response["WWW-Authenticate"] == 'Bearer realm="farmlokal"'
    assert Product.objects.get().version == 1


def test_users_without_the_permission_are_403(client: Client) -> None:
    product = make_offer()
    customer = make_staff("add_product", "change_product", name="customer")
    customer.is_staff = False
    customer.save()
    for user in (customer, make_staff("view_product", "delete_product", name="viewer")):
        client.force_login(user)
        for response in write_as(client, product):
            assert (response.status_code, response.json()["code"]) == (403, "permission-denied")
    client.force_login(make_staff("add_product", name="adder"))
    assert [response.status_code for response in write_as(client, product)] == [201, 403, 403]
    client.force_login(make_staff("change_product", name="changer"))
    assert [response.status_code for response in write_as(client, product)] == [403, 200, 204]


def test_session_without_csrf_token_is_403(client: Client) -> None:
    """A form on another site makes the browser send the cookie, but not the token."""
    product = make_offer()
    browser = Client(enforce_csrf_checks=True)
    headers = session_headers(make_staff())
    without_token = {name: value for name, value in headers.items() if name != "X-CSRFToken"}
    for response in write_as(browser, product, **without_token):
        assert (response.status_code, response.json()["code"]) == (403, "permission-denied")
    for response in write_as(browser, product, **without_token, **{"X-CSRFToken": "d" * 32}):
        assert response.status_code == 403
    assert [response.status_code for response in write_as(browser, product, **headers)] == [201, 200, 204]


def test_inactive_user_is_401(client: Client) -> None:
    user = make_staff()
    client.force_login(user)
    user.is_active = False
    user.save()
    assert post_product(client, product_body()).status_code == 401
