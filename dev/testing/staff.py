"""Staff users who may write to the catalogue, and their requests."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from dev.testing.offers import make_farm
from products.models import Product

CSRF_TOKEN = "c" * 32


def make_staff(*permissions: str, name: str = "asha") -> Any:
    """A staff user with these permissions; by default with those that writing products needs."""
    user = get_user_model().objects.create(username=name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions or ["add_product", "change_product"]))
    return user


def session_headers(user: Any) -> dict[str, str]:
    """The headers that a browser sends once the user has logged in."""
    client = Client()
    client.force_login(user)
    session = client.cookies["sessionid"].value
    return {"Cookie": f"sessionid={session}; csrftoken={CSRF_TOKEN}", "X-CSRFToken": CSRF_TOKEN}


def product_body(**members: Any) -> dict[str, Any]:
    """A valid body for POST /products."""
    farm = members["farm"] if "farm" in members else make_farm().pk
    return {"name": "Mango", "commodity": "mango", "grade": "A", "price": "120.50"} | members | {"farm": farm}


def post_product(client: Client, body: Any, **headers: str) -> Any:
    """body: text, bytes, or a value to be sent as JSON."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    # client.post() would send no Content-Type with an empty body.
    return client.generic("POST", "/products", text, headers=headers, CONTENT_TYPE="application/json")


def patch_product(client: Client, product: Product, body: Any, **headers: str) -> Any:
    return client.patch(f"/products/{product.pk}", body, "application/json", headers=headers)
