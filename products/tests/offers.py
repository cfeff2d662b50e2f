"""Products for tests: whatever is not said is plausible."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from products.models import Commodity, District, Farm, Product

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
    """Many saved products of one farm, in one statement a thousand; primary keys are read back."""
    farm = make_farm()
    commodity = Commodity.objects.get(slug="mango")
    common = {
        "commodity": commodity,
        "category_id": commodity.category_id,
        "farm": farm,
        "district_id": farm.district_id,
        "state_id": farm.district.state_id,
        "grade": "A",
        "name": "Mango",
        "slug": "mango",
        "price": Decimal("50.00"),
        "created_at": timezone.now(),
    }
    Product.objects.bulk_create([Product(**common | row) for row in rows], batch_size=1000)
    return list(Product.objects.filter(farm=farm).order_by("pk"))
