"""The catalogue's public documents, and the bodies that clients may write. OpenAPI derives from both."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from farmlokal.http.input_serializers import (
    FlagField,
    InputSerializer,
    Messages,
    OneOfField,
    StrictField,
    StringField,
    WholeNumberField,
)
from farmlokal.openapi.auto_schema import AnyOf
from farmlokal.openapi.parameters import JSON, whole
from products import vocabulary
from products.listing.filters import PRICE, SLUG
from products.listing.listings import MAX_PAGE_SIZE
from products.models import MAX_DESCRIPTION_LENGTH, MAX_ID, MAX_STOCK, Commodity, Farm, Product
from products.validators import NOT_IN_LINE, NOT_IN_TEXT, validate_line, validate_slug_source, validate_text

Serializer: TypeAlias = serializers.Serializer[dict[str, Any]]

MAX_NAME_LENGTH = Product.name.field.max_length
MAX_VARIETY_LENGTH = Product.variety.field.max_length
MAX_SLUG_LENGTH = Commodity.slug.field.max_length
MONEY = r"^[0-9]{1,8}\.[0-9]{2}$"
CURRENCY = "INR"
UNIT_TEXT = "The price is for one of these."
STOCK_TEXT = "In units."


# Documents


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds: 2026-01-31T08:30:00.000000Z. The moment must be in UTC already."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


class IdField(serializers.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=MAX_ID, **options)


class UTCField(serializers.DateTimeField):
    keywords: ClassVar[JSON] = {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}

    def __init__(self) -> None:
        super().__init__(help_text="UTC, with microseconds.")


class NamedSerializer(Serializer):
    slug = serializers.SlugField(max_length=MAX_SLUG_LENGTH)
    name = serializers.CharField()


class FarmSerializer(Serializer):
    id = IdField()
    name = serializers.CharField()


@extend_schema_serializer(description="An offer of one farm.")
class ProductSerializer(Serializer):
    """A public Product, from a dictionary of ProductQuerySet.rows().

    The fields only describe the document. to_representation() renders it, about three times faster.
    """

    id = IdField()
    name = serializers.CharField(min_length=1, max_length=MAX_NAME_LENGTH)
    slug = serializers.CharField(help_text="From the name, for readable URLs. Not a key.")
    description = serializers.CharField()
    category = NamedSerializer()
    commodity = NamedSerializer()
    variety = serializers.CharField(max_length=MAX_VARIETY_LENGTH)
    grade = serializers.ChoiceField(Product.Grade.choices)
    farm = FarmSerializer()
    district = NamedSerializer()
    state = NamedSerializer()
    price = serializers.RegexField(MONEY, help_text="For one unit.")
    currency = serializers.ChoiceField([CURRENCY])
    unit = serializers.ChoiceField(Product.Unit.choices, help_text=UNIT_TEXT)
    stock = serializers.IntegerField(min_value=0, max_value=MAX_STOCK, help_text=STOCK_TEXT)
    in_stock = serializers.BooleanField(help_text="Whether the stock is above 0.")
    organic = serializers.BooleanField()
    created_at = UTCField()
    updated_at = UTCField()

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
            "currency": CURRENCY,
            "unit": row["unit"],
            "stock": row["stock"],
            "in_stock": row["stock"] > 0,
            "organic": row["organic"],
            "created_at": rfc3339(row["created_at"]),
            "updated_at": rfc3339(row["updated_at"]),
        }


def require_only(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    for name, field in fields.items():
        field.required = name in names
    return fields


@extend_schema_serializer(description="A Product with the members that `fields` selects.")
class SelectedProductSerializer(ProductSerializer):
    def get_fields(self) -> dict[str, Any]:
        return require_only(super().get_fields(), "id")


class ProductPageSerializer(Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = serializers.ListField(child=AnyOf(ProductSerializer, SelectedProductSerializer), max_length=MAX_PAGE_SIZE)
    missing = serializers.ListField(
        child=IdField(), required=False, help_text="Only with `ids`: the ids without a product, in the same order."
    )


class CategorySerializer(NamedSerializer):
    commodities = NamedSerializer(many=True)


class CategoryListSerializer(Serializer):
    results = CategorySerializer(many=True)


class StateSerializer(NamedSerializer):
    districts = NamedSerializer(many=True)


class StateListSerializer(Serializer):
    results = StateSerializer(many=True)


# Bodies


class LineField(StringField):
    """One line. Checked before trimming, because some blanks at its ends are control characters."""

    keywords: ClassVar[JSON] = {"pattern": f"^[^{NOT_IN_LINE}]*$"}
    check = staticmethod(validate_line)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str):
            self.check(data)
        return super().run_validation(data)


class TextField(LineField):
    keywords: ClassVar[JSON] = {"pattern": f"^[^{NOT_IN_TEXT}]*$"}
    check = staticmethod(validate_text)


class NameField(LineField):
    # Not part of the pattern: Python's re, which Python clients use, has no \p.
    keywords: ClassVar[JSON] = {**LineField.keywords, "not": {"pattern": r"^[^\p{L}\p{N}]*$"}}


class CommodityField(StringField):
    keywords: ClassVar[JSON] = {"pattern": whole(SLUG)}
    default_error_messages: ClassVar[Messages] = {"unknown": "is not the slug of a commodity."}

    def run_validation(self, data: Any = serializers.empty) -> Any:
        slug = super().run_validation(data)  # rejects characters that the database would not accept
        try:
            return Commodity.objects.get(slug=slug)
        except Commodity.DoesNotExist:
            self.fail("unknown")


class FarmField(WholeNumberField):
    keywords: ClassVar[JSON] = {"minimum": 1, "maximum": MAX_ID}
    default_error_messages: ClassVar[Messages] = {"unknown": "is not the id of a farm."}

    def to_internal_value(self, data: Any) -> Any:
        pk = super().to_internal_value(data)
        try:
            return Farm.objects.select_related("district__state").get(pk=pk)
        except Farm.DoesNotExist:
            self.fail("unknown")


@extend_schema_field(OpenApiTypes.STR)
class PriceField(StrictField, serializers.Field[Any, Any, Any, Any]):
    """Rupees above 0, as a string: many programs read a JSON number as a float."""

    pattern = PRICE
    default_error_messages: ClassVar[Messages] = {
        "invalid": 'must be a string from "0.01" to "99999999.99", with at most two decimals.'
    }

    @property
    def keywords(self) -> JSON:
        return {"pattern": whole(rf"(?=.*[1-9])(?:{self.pattern})")}

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str) or not re.fullmatch(self.pattern, data) or not Decimal(data):
            self.fail("invalid")
        return Decimal(data)


class NewProductSerializer(InputSerializer):
    """The members that clients write. The others derive from them."""

    name = NameField(
        max_length=MAX_NAME_LENGTH,
        validators=[validate_slug_source],
        help_text="With a letter or a digit. Blanks at the ends are dropped.",
    )
    description = TextField(max_length=MAX_DESCRIPTION_LENGTH, allow_blank=True, required=False)
    commodity = CommodityField(
        max_length=MAX_SLUG_LENGTH, help_text="A slug of GET /categories. It determines the category."
    )
    variety = LineField(max_length=MAX_VARIETY_LENGTH, allow_blank=True, required=False)
    grade = OneOfField(Product.Grade.choices)
    farm = FarmField(help_text="The farm's id. It determines district and state.")
    price = PriceField(
        help_text="Rupees for one unit, 0.01 or more. A string, since many programs read numbers as floats."
    )
    unit = OneOfField(Product.Unit.choices, required=False, help_text=UNIT_TEXT)
    stock = WholeNumberField(min_value=0, max_value=MAX_STOCK, required=False, help_text=STOCK_TEXT)
    organic = FlagField(required=False)


@extend_schema_serializer(description="The members to change.")
class ProductChangeSerializer(NewProductSerializer):
    def get_fields(self) -> dict[str, Any]:
        return require_only(super().get_fields())
