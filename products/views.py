"""The views of the catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.urls import reverse
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from farmlokal.http.conditional import check_if_match, check_if_none_match, condition_in
from farmlokal.http.json_bodies import read_json
from farmlokal.http.query_parameters import check_parameters
from farmlokal.http.representations import CONTENT_TYPE, Representation
from farmlokal.mysql.transactions import atomic_with_retry
from farmlokal.observability.logs import show_parameters
from farmlokal.page_cache.responses import cached_response
from products import idempotency, schema, services
from products.catalogue_cache import LASTING, SHORT, catalogue_cache, lifetime_of
from products.documents import render_listing, render_product, render_selection, render_vocabulary
from products.listing.listing_parameters import PARAMETERS
from products.listing.listings import Listing
from products.models import Product
from products.permissions import WRITES, MayWrite, StaffSession, caller_name
from products.serializers import NewProductSerializer, ProductChangeSerializer

LISTING_HEADERS = {"Cache-Control": schema.LISTING_CACHE_CONTROL}
# Clients send this ETag in If-Match, so they must always have the newest: a 304 is cheap.
DETAIL_HEADERS = {"Cache-Control": schema.DETAIL_CACHE_CONTROL}

show_parameters("/products", PARAMETERS.fields)


class VocabularyView(APIView):
    names: tuple[str, str, str]  # the list, its children, and the children's member in the document

    def answer(self, request: Request) -> HttpResponse:
        check_parameters(request.query_params, ())
        render = partial(render_vocabulary, *self.names)
        return cached_response(catalogue_cache, request, "", render, LISTING_HEADERS, LASTING)


class CategoryView(VocabularyView):
    names = ("category", "commodity", "commodities")

    @schema.list_categories
    def get(self, request: Request) -> HttpResponse:
        return self.answer(request)


class StateView(VocabularyView):
    names = ("state", "district", "districts")

    @schema.list_states
    def get(self, request: Request) -> HttpResponse:
        return self.answer(request)


class ProductViewSet(ViewSet):
    """Not a GenericViewSet: a filter in its get_queryset() would not reach the SQL of a Listing."""

    permission_classes = (MayWrite,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None for an unknown method: everyone gets a 405. Reads never use a session."""
        action = self.action_map.get((self.request.method or "").lower())
        if action is None:
            return []
        return [*super().get_authenticators(), *([StaffSession()] if action in WRITES else [])]

    @schema.list_products
    def list(self, request: Request) -> HttpResponse:
        wanted = PARAMETERS.read(request.query_params)
        if isinstance(wanted, Listing):
            render = partial(render_listing, wanted, request)
        else:
            render = partial(render_selection, wanted)
        query = wanted.parameters()
        lifetime = lifetime_of(name for name, _ in query)
        return cached_response(catalogue_cache, request, urlencode(query), render, LISTING_HEADERS, lifetime)

    @schema.retrieve
    def retrieve(self, request: Request, pk: int) -> HttpResponse:
        check_parameters(request.query_params, ())
        with not_found_as_404():
            render = partial(render_product, pk)
            return cached_response(catalogue_cache, request, "", render, DETAIL_HEADERS, SHORT)

    @schema.create
    def create(self, request: Request) -> HttpResponse:
        check_parameters(request.query_params, ())
        key = idempotency.key_in(request.headers)
        body = read_json(request)
        fields = NewProductSerializer(data=body).checked()

        @atomic_with_retry
        def create() -> HttpResponse:
            product = services.create(**fields)
            response = written(render_product(product.pk), 201)
            response["Location"] = request.build_absolute_uri(reverse("product", args=[product.pk]))
            return response

        return create() if key is None else idempotency.answer_once(caller_name(request), key, body, create)

    @schema.partial_update
    def partial_update(self, request: Request, pk: int) -> HttpResponse:
        check_parameters(request.query_params, ())
        fields = ProductChangeSerializer(data=read_json(request)).checked()

        @atomic_with_retry
        def change() -> HttpResponse:
            services.change_locked(lock_as_expected(request, pk), **fields)
            return written(render_product(pk))

        with not_found_as_404():
            return change()

    @schema.destroy
    def destroy(self, request: Request, pk: int) -> Response:
        check_parameters(request.query_params, ())

        @atomic_with_retry
        def withdraw() -> None:
            services.withdraw_locked(lock_as_expected(request, pk))

        with not_found_as_404():
            withdraw()
        return Response(status=204, headers={"Cache-Control": schema.WRITTEN_CACHE_CONTROL})


@contextlib.contextmanager
def not_found_as_404() -> Iterator[None]:
    try:
        yield
    except Product.DoesNotExist as error:
        raise Http404 from error


def lock_as_expected(request: Request, product_id: int) -> Product:
    """The listed product, locked. Checks the request's preconditions."""
    if_match, if_none_match = (condition_in(request.headers, name) for name in ("If-Match", "If-None-Match"))
    product = services.lock_listed(product_id)
    if if_match or if_none_match:
        etag = render_product(product_id).etag
        check_if_match(if_match, etag)
        check_if_none_match(if_none_match, etag)
    return product


def written(product: Representation, status: int = 200) -> HttpResponse:
    headers = {"ETag": product.etag, "Cache-Control": schema.WRITTEN_CACHE_CONTROL}
    return HttpResponse(product.identity, status=status, content_type=CONTENT_TYPE, headers=headers)
