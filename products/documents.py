"""Renders the public documents of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.request import Request

from farmlokal.http.renderers import JSONRenderer
from farmlokal.http.representations import Representation
from products import vocabulary
from products.listing.listings import Listing, Selection
from products.listing.pagination import ProductPagination
from products.models import Product
from products.serializers import ProductSerializer

PRODUCT_SERIALIZER = ProductSerializer()


def render_listing(listing: Listing, request: Request) -> Representation:
    paginator = ProductPagination()
    rows = paginator.paginate_queryset(listing, request)
    page = paginator.get_paginated_response(only(_products(rows), listing.fields))
    return _representation(page.data, page.get("Link", ""))


def render_selection(selection: Selection) -> Representation:
    rows = {row["id"]: row for row in Product.objects.listed().rows().filter(pk__in=selection.ids)}
    results = only(_products(rows[pk] for pk in selection.ids if pk in rows), selection.fields)
    missing = [pk for pk in selection.ids if pk not in rows]
    return _representation({"next": None, "previous": None, "results": results, "missing": missing})


def render_product(product_id: int) -> Representation:
    """Raises Product.DoesNotExist."""
    row = Product.objects.listed().rows().get(pk=product_id)
    return _representation(PRODUCT_SERIALIZER.to_representation(row), gzips=False)


def render_vocabulary(field: str, child: str, children: str) -> Representation:
    return _representation({"results": vocabulary.current().tree(field, child, children)})


def only(documents: Iterable[dict[str, Any]], fields: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Documents with these members only. fields: None for all."""
    if fields is None:
        return list(documents)
    return [{name: document[name] for name in fields} for document in documents]


def _products(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [PRODUCT_SERIALIZER.to_representation(row) for row in rows]


def _representation(document: Any, link: str = "", *, gzips: bool = True) -> Representation:
    return Representation.of(JSONRenderer().render(document), link, gzips=gzips)
