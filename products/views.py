"""The HTTP face of the catalogue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from farmlokal.http.conditional import check_if_match, check_if_none_match, condition_in, etag_of
from farmlokal.http.json_bodies import read_json
from farmlokal.http.query_parameters import check_parameters
from farmlokal.http.renderers import JSONRenderer
from farmlokal.mysql.transactions import atomic_with_retry
from farmlokal.observability.logs import show_parameters
from farmlokal.page_cache.views import Made, answer
from products import idempotency, schema, services, vocabulary
from products.listing.listings import Listing
from products.listing.pagination import ProductPagination
from products.listing.projection import only
from products.listing.serializers import PARAMETERS
from products.models import Product
from products.page_cache import LASTING, SHORT, catalogue_cache, lifetime_of
from products.permissions import WRITES, MayWrite, StaffSession, caller_of
from products.serializers import NewProductSerializer, ProductChangeSerializer, ProductSerializer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rest_framework.authentication import BaseAuthentication
    from rest_framework.request import Request

    from products.listing.listings import Selection


LISTING_HEADERS = {"Cache-Control": schema.LISTING_CACHE_CONTROL}
# What If-Match asks for has to be the newest: a copy is asked for again each time, and a 304 is cheap.
DETAIL_HEADERS = {"Cache-Control": schema.DETAIL_CACHE_CONTROL}

show_parameters("/products", PARAMETERS.fields)


def vocabulary_answer(request: Request, field: str, child: str, children: str) -> HttpResponse:
    check_parameters(request.query_params, ())

    def lists() -> Made:
        return Made(rendered({"results": vocabulary.current().tree(field, child, children)}))

    return answer(catalogue_cache, request, "", lists, LISTING_HEADERS, LASTING)


class CategoryView(APIView):
    @schema.list_categories
    def get(self, request: Request) -> HttpResponse:
        return vocabulary_answer(request, "category", "commodity", "commodities")


class StateView(APIView):
    @schema.list_states
    def get(self, request: Request) -> HttpResponse:
        return vocabulary_answer(request, "state", "district", "districts")


def documents(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    to_document = ProductSerializer().to_representation
    return [to_document(row) for row in rows]


def rendered(document: Any) -> bytes:
    return JSONRenderer().render(document)


def page_of(listing: Listing, request: Request) -> Made:
    paginator = ProductPagination()
    rows = paginator.paginate_queryset(listing, request)
    page = paginator.get_paginated_response(only(documents(rows), listing.fields))
    return Made(rendered(page.data), page.get("Link", ""))


def selected(selection: Selection) -> Made:
    rows = {row["id"]: row for row in Product.objects.listed().rows().filter(pk__in=selection.ids)}
    results = only(documents(rows[pk] for pk in selection.ids if pk in rows), selection.fields)
    missing = [pk for pk in selection.ids if pk not in rows]
    return Made(rendered({"next": None, "previous": None, "results": results, "missing": missing}))


def document_of(product_id: int) -> bytes:
    """The public Product in the bytes that an answer carries, whose hash is its ETag."""
    try:
        row = Product.objects.listed().rows().get(pk=product_id)
    except Product.DoesNotExist as error:
        raise Http404 from error
    return rendered(ProductSerializer(row).data)


def written(document: bytes, status: int = 200) -> HttpResponse:
    headers = {"ETag": etag_of(document), "Cache-Control": "no-store"}
    return HttpResponse(document, status=status, content_type=JSONRenderer.media_type, headers=headers)


def lock_as_expected(request: Request, product_id: int) -> None:
    """Locks the product that a request is about to change, and checks the request's preconditions."""
    if_match, if_none_match = (condition_in(request.headers, name) for name in ("If-Match", "If-None-Match"))
    try:
        services.lock_listed(product_id)
    except Product.DoesNotExist as error:
        raise Http404 from error
    if if_match or if_none_match:
        etag = etag_of(document_of(product_id))
        check_if_match(if_match, etag)
        check_if_none_match(if_none_match, etag)


class ProductViewSet(ViewSet):
    """Not a GenericViewSet: a filter in its get_queryset() would not reach the SQL of a Listing."""

    permission_classes = (MayWrite,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None for a method that is not here: that is a 405 for everybody. Reads never touch a session."""
        action = self.action_map.get((self.request.method or "").lower())
        if action is None:
            return []
        return [*super().get_authenticators(), *([StaffSession()] if action in WRITES else [])]

    @schema.list_products
    def list(self, request: Request) -> HttpResponse:
        wanted = PARAMETERS.read(request.query_params)
        query = wanted.parameters()
        make = partial(page_of, wanted, request) if isinstance(wanted, Listing) else partial(selected, wanted)
        lifetime = lifetime_of(name for name, _ in query)
        return answer(catalogue_cache, request, urlencode(query), make, LISTING_HEADERS, lifetime)

    @schema.retrieve
    def retrieve(self, request: Request, pk: int) -> HttpResponse:
        check_parameters(request.query_params, ())
        return answer(catalogue_cache, request, "", lambda: Made(document_of(pk)), DETAIL_HEADERS, SHORT, gzips=False)

    @schema.create
    def create(self, request: Request) -> HttpResponse:
        check_parameters(request.query_params, ())
        key = idempotency.key_in(request.headers)
        body = read_json(request)
        fields = NewProductSerializer(data=body).checked()

        @atomic_with_retry
        def make() -> HttpResponse:
            product = services.create(**fields)
            answer = written(document_of(product.pk), 201)
            answer["Location"] = request.build_absolute_uri(reverse("product", args=[product.pk]))
            return answer

        if key is None:
            return make()
        return idempotency.answer_once(caller_of(request), key, body, make)

    @schema.partial_update
    def partial_update(self, request: Request, pk: int) -> HttpResponse:
        check_parameters(request.query_params, ())
        fields = ProductChangeSerializer(data=read_json(request)).checked()

        @atomic_with_retry
        def write() -> HttpResponse:
            lock_as_expected(request, pk)
            services.change(pk, **fields)
            return written(document_of(pk))

        return write()

    @schema.destroy
    def destroy(self, request: Request, pk: int) -> Response:
        check_parameters(request.query_params, ())

        @atomic_with_retry
        def write() -> None:
            lock_as_expected(request, pk)
            services.withdraw(pk)

        write()
        return Response(status=204, headers={"Cache-Control": "no-store"})
