"""The public documents of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from products import vocabulary

if TYPE_CHECKING:
    from datetime import datetime


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds: 2026-01-31T08:30:00.000000Z. The moment must be in UTC already."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


class ProductSerializer(serializers.BaseSerializer[dict[str, Any]]):
    """The public Product, from a dictionary of ProductQuerySet.rows()."""

    def to_representation(self, row: dict[str, Any]) -> dict[str, Any]:
        names = vocabulary.at_version(row["vocabulary_version"])
        return {
            "id": row["id"],
            "name": row["name"],
            "slug": row["slug"],
            "description": row["description"],
            "category": names.categories[row["category_id"]],
            "commodity": names.commodities[row["commodity_id"]],
            "variety": row["variety"],
            "grade": row["grade"],
            "farm": {"id": row["farm_id"], "name": row["farm_name"]},
            "district": names.districts[row["district_id"]],
            "state": names.states[row["state_id"]],
            "price": str(row["price"]),
            "currency": "INR",
            "unit": row["unit"],
            "stock": row["stock"],
            "in_stock": row["stock"] > 0,
            "organic": row["organic"],
            "created_at": rfc3339(row["created_at"]),
            "updated_at": rfc3339(row["updated_at"]),
        }
