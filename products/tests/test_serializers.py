"""The fields that describe a document agree with the code that renders it."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import orjson
import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.serializers import Serializer

from dev.testing.offers import make_offer
from products.listing.parameters import ALL_FIELDS
from products.models import Product
from products.serializers import (
    CategoryListSerializer,
    ProductPageSerializer,
    ProductSerializer,
    SelectedProductSerializer,
    StateListSerializer,
)

pytestmark = pytest.mark.django_db


def rendered_by_fields(serializer: Any, document: Any) -> bytes:
    """DRF's own rendering, with the members, order and types of the declared fields."""
    return orjson.dumps(Serializer.to_representation(serializer, document))


def check_schema(name: str, document: Any) -> None:
    openapi: Any = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    schema = {"$ref": f"#/components/schemas/{name}", "components": openapi["components"]}
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(document)


@pytest.mark.parametrize("changes", [{}, {"stock": 0, "organic": True, "variety": "", "description": "₹ 🥭"}])
def test_product_is_rendered_as_declared(changes: dict[str, Any]) -> None:
    make_offer(**changes)
    document = ProductSerializer(Product.objects.all().rows().get()).data
    assert orjson.dumps(document) == rendered_by_fields(ProductSerializer(), document)
    check_schema("Product", document)


def test_fields_parameter_selects_the_declared_members() -> None:
    assert list(ALL_FIELDS) == list(ProductSerializer().fields) == list(SelectedProductSerializer().fields)


def test_page_is_rendered_as_declared(client: Client) -> None:
    pk = make_offer().pk
    fields = list(ProductPageSerializer().fields)
    for query, members in (("", fields[:-1]), ("?fields=name", fields[:-1]), (f"?ids={pk},999", fields)):
        page = client.get(f"/products{query}").json()
        assert list(page) == members
        check_schema("ProductPage", page)


@pytest.mark.parametrize(
    ("path", "serializer"), [("/categories", CategoryListSerializer), ("/states", StateListSerializer)]
)
def test_vocabulary_is_rendered_as_declared(client: Client, path: str, serializer: type[Any]) -> None:
    body = client.get(path).content
    assert body == rendered_by_fields(serializer(), orjson.loads(body))
    check_schema(serializer.__name__.removesuffix("Serializer"), orjson.loads(body))
