"""The products of a list's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from products import vocabulary
from products.models import Farm, Product, ProductQuerySet


def by_ids(ids: Iterable[int]) -> ProductQuerySet:
    """Without long texts, which no list shows."""
    return Product.objects.filter(pk__in=ids).defer("description", "words")


def products_of(rows: Sequence[dict[str, Any]]) -> list[Product]:
    """One statement. The rows of find() lack the version, but they have the names of farms."""
    products = by_ids(row["id"] for row in rows).in_bulk()
    for row in rows:
        if product := products.get(row["id"]):
            product.farm = Farm(pk=row["farm_id"], name=row["farm_name"])
    return [products[pk] for pk in dict.fromkeys(row["id"] for row in rows) if pk in products]


def name_of_commodity(product: Product) -> str:
    """From memory, unless it is new."""
    entry = vocabulary.cached().names["commodity"].get(product.commodity_id)
    return entry["name"] if entry else product.commodity.name
