"""Farms and products for tests. Fields that a test does not name get plausible values."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.utils import timezone

from products.models import Commodity, District, Farm, Posting, Product


def make_farm(name: str = "Patil Farm, Ratnagiri", district: str = "ratnagiri") -> Farm:
    return Farm.objects.create(name=name, district=District.objects.get(slug=district))


def make_offer(**fields: Any) -> Product:
    """Save one product."""
    defaults = {
        "name": "Alphonso Mango, Grade A",
        "commodity": lambda: Commodity.objects.get(slug="mango"),
        "farm": make_farm,
        "grade": Product.Grade.A,
        "price": Decimal("120.00"),
        "stock": 10,
    }
    missing = {name: value() if callable(value) else value for name, value in defaults.items() if name not in fields}
    return Product.objects.create(**missing, **fields)


def make_offers(rows: Iterable[dict[str, Any]]) -> list[Product]:
    """Insert many products in bulk. They share one new farm unless a row names another."""
    defaults = {
        "commodity": Commodity.objects.get(slug="mango"),
        "farm": make_farm(),
        "grade": "A",
        "name": "Mango",
        "price": Decimal("50.00"),
        "created_at": timezone.now(),
    }
    last_pk = Product.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    unsaved = [Product(**defaults | row) for row in rows]
    for product in unsaved:
        product.derive()
    Product.objects.bulk_create(unsaved, batch_size=1000)
    products = list(Product.objects.filter(pk__gt=last_pk).order_by("pk"))
    _add_postings(products)
    return products


def _add_postings(products: Iterable[Product]) -> None:
    """bulk_create does not call save(), which would add them to the search index."""
    listed = (product for product in products if product.is_active)
    postings = [entry for product in listed for entry in Posting.objects.build(product, product.words.split())]
    Posting.objects.bulk_create(postings, batch_size=5000)
