"""Renders the public documents of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework.request import Request

from farmlokal.http.renderers import JSONRenderer
from farmlokal.page_cache.views import Made
from products import vocabulary
from products.listing.listings import Listing, Selection
from products.listing.pagination import ProductPagination
from products.models import Product
from products.serializers import ProductSerializer


def render_listing(listing: Listing, request: Request) -> Made:
    paginator = ProductPagination()
    rows = paginator.paginate_queryset(listing, request)
    page = paginator.get_paginated_response(only(_products(rows), listing.fields))
    return Made(_render(page.data), page.get("Link", ""))


def render_selection(selection: Selection) -> Made:
    rows = {row["id"]: row for row in Product.objects.listed().rows().filter(pk__in=selection.ids)}
    results = only(_products(rows[pk] for pk in selection.ids if pk in rows), selection.fields)
    missing = [pk for pk in selection.ids if pk not in rows]
    return Made(_render({"next": None, "previous": None, "results": results, "missing": missing}))


def render_product(product_id: int) -> bytes:
    """The ETag of a product is the hash of these bytes. Raises Product.DoesNotExist."""
    row = Product.objects.listed().rows().get(pk=product_id)
    return _render(ProductSerializer(row).data)


def render_vocabulary(field: str, child: str, children: str) -> Made:
    return Made(_render({"results": vocabulary.current().tree(field, child, children)}))


def only(documents: Iterable[dict[str, Any]], fields: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """Documents with these members only. fields: None for all."""
    if fields is None:
        return list(documents)
    return [{name: document[name] for name in fields} for document in documents]


def _products(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    to_document = ProductSerializer().to_representation
    return [to_document(row) for row in rows]


def _render(document: Any) -> bytes:
    return JSONRenderer().render(document)
