"""The public documents of the catalogue, and what clients may write of them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from rest_framework import serializers

from farmlokal.http.input_serializers import (
    FlagField,
    InputSerializer,
    OneOfField,
    PointerMessages,
    StringField,
    WholeNumberField,
)
from products import vocabulary
from products.listing.filters import PRICE
from products.models import MAX_DESCRIPTION_LENGTH, MAX_STOCK, Commodity, Farm, Product
from products.validators import validate_line, validate_slug_source, validate_text

if TYPE_CHECKING:
    from datetime import datetime

    from farmlokal.http.input_serializers import Messages


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds: 2026-01-31T08:30:00.000000Z. The moment must be in UTC already."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


class ProductSerializer(serializers.BaseSerializer[dict[str, Any]]):
    """The public Product, from a dictionary of ProductQuerySet.rows()."""

    def to_representation(self, row: dict[str, Any]) -> dict[str, Any]:
        names = vocabulary.at_version(row["vocabulary_version"]).names
        return {
            "id": row["id"],
            "name": row["name"],
            "slug": row["slug"],
            "description": row["description"],
            "category": names["category"][row["category_id"]],
            "commodity": names["commodity"][row["commodity_id"]],
            "variety": row["variety"],
            "grade": row["grade"],
            "farm": {"id": row["farm_id"], "name": row["farm_name"]},
            "district": names["district"][row["district_id"]],
            "state": names["state"][row["state_id"]],
            "price": str(row["price"]),
            "currency": "INR",
            "unit": row["unit"],
            "stock": row["stock"],
            "in_stock": row["stock"] > 0,
            "organic": row["organic"],
            "created_at": rfc3339(row["created_at"]),
            "updated_at": rfc3339(row["updated_at"]),
        }


class LineField(StringField):
    """One line. It is checked as sent, before the blanks around it are dropped: some of them are control characters."""

    check = staticmethod(validate_line)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str):
            self.check(data)
        return super().run_validation(data)


class TextField(LineField):
    check = staticmethod(validate_text)


class CommodityField(StringField):
    default_error_messages: ClassVar[Messages] = {"unknown": "is not the slug of a commodity."}

    def run_validation(self, data: Any = serializers.empty) -> Any:
        slug = super().run_validation(data)  # its validators refuse what a database cannot be asked
        try:
            return Commodity.objects.get(slug=slug)
        except Commodity.DoesNotExist:
            self.fail("unknown")


class FarmField(WholeNumberField):
    default_error_messages: ClassVar[Messages] = {"unknown": "is not the id of a farm."}

    def to_internal_value(self, data: Any) -> Any:
        pk = super().to_internal_value(data)
        try:
            return Farm.objects.select_related("district__state").get(pk=pk)
        except Farm.DoesNotExist:
            self.fail("unknown")


class PriceField(PointerMessages, serializers.Field[Any, Any, Any, Any]):
    """A string, as in the documents: a JSON number is a float to many who write or read one."""

    pattern = PRICE
    default_error_messages: ClassVar[Messages] = {
        "invalid": 'must be a string from "0.01" to "99999999.99", with at most two decimals.'
    }

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str) or not re.fullmatch(self.pattern, data) or not Decimal(data):
            self.fail("invalid")
        return Decimal(data)


class ProductInput(InputSerializer):
    """The members that clients write: the rest of a product follows from them."""

    name = LineField(max_length=200, validators=[validate_slug_source])
    description = TextField(max_length=MAX_DESCRIPTION_LENGTH, allow_blank=True, required=False)
    commodity = CommodityField(max_length=120)
    variety = LineField(max_length=100, allow_blank=True, required=False)
    grade = OneOfField(Product.Grade.choices)
    farm = FarmField()
    price = PriceField()
    unit = OneOfField(Product.Unit.choices, required=False)
    stock = WholeNumberField(min_value=0, max_value=MAX_STOCK, required=False)
    organic = FlagField(required=False)
