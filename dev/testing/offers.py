"""Products for tests: whatever is not said is plausible."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from products.models import Commodity, District, Farm, Posting, Product

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_farm(name: str = "Patil Farm, Ratnagiri", district: str = "ratnagiri") -> Farm:
    return Farm.objects.create(name=name, district=District.objects.get(slug=district))


def make_offer(**fields: Any) -> Product:
    """A saved Product."""
    defaults = {
        "name": "Alphonso Mango, Grade A",
        "commodity": lambda: Commodity.objects.get(slug="mango"),
        "farm": make_farm,
        "grade": Product.Grade.A,
        "price": Decimal("120.00"),
        "stock": 10,
    }
    chosen = {name: value() if callable(value) else value for name, value in defaults.items() if name not in fields}
    return Product.objects.create(**chosen, **fields)


def make_offers(rows: Iterable[dict[str, Any]]) -> list[Product]:
    """Many saved products, of one farm unless a row says otherwise, in one statement a thousand."""
    common = {
        "commodity": Commodity.objects.get(slug="mango"),
        "farm": make_farm(),
        "grade": "A",
        "name": "Mango",
        "price": Decimal("50.00"),
        "created_at": timezone.now(),
    }
    last = Product.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    products = [Product(**common | row) for row in rows]
    for product in products:
        product.derive()
    Product.objects.bulk_create(products, batch_size=1000)
    made = list(Product.objects.filter(pk__gt=last).order_by("pk"))
    post(made)
    return made


def post(products: Iterable[Product]) -> None:
    """Into the search index, for products that were not saved one by one."""
    listed = (product for product in products if product.is_active)
    postings = [entry for product in listed for entry in Posting.objects.made_from(product, product.words.split())]
    Posting.objects.bulk_create(postings, batch_size=5000)
