"""The HTTP face of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import Http404, HttpResponse
from django.urls import reverse
from rest_framework.mixins import ListModelMixin
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from farmlokal.bodies import read_json
from farmlokal.conditional import check_if_match, etag_of, is_not_modified
from farmlokal.errors import InvalidParameter
from farmlokal.rest import JSONRenderer
from products import idempotency, services
from products.filters import ProductFilter, ProductFilterBackend
from products.models import Product
from products.pages import ProductPagination
from products.permissions import PERMISSIONS, MayWrite, StaffSession
from products.serializers import ProductInput, ProductSerializer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import QueryDict
    from rest_framework.authentication import BaseAuthentication
    from rest_framework.request import Request


def check_parameters(given: QueryDict, known: Sequence[str], repeatable: Sequence[str] = ()) -> None:
    """Raises InvalidParameter for one that is not known, or given twice: nothing is silently ignored."""
    for name, values in given.lists():
        if name not in known:
            others = f"; known: {', '.join(known)}" if known else ""
            raise InvalidParameter(name, f"is not a parameter here{others}.", known)
        if len(values) > 1 and name not in repeatable:
            raise InvalidParameter(name, "may be given only once.")


def document_of(product_id: int) -> bytes:
    """The public Product in the bytes that an answer carries, whose hash is its ETag."""
    try:
        row = Product.objects.listed().rows().get(pk=product_id)
    except Product.DoesNotExist as error:
        raise Http404 from error
    return JSONRenderer().render(ProductSerializer(row).data)


def answer_with(document: bytes, status: int = 200, cache: str = "no-store") -> HttpResponse:
    headers = {"ETag": etag_of(document), "Cache-Control": cache}
    return HttpResponse(document, status=status, content_type=JSONRenderer.media_type, headers=headers)


def lock_as_expected(request: Request, product_id: int) -> None:
    """Locks the product that a request is about to change, and holds it to the request's If-Match."""
    try:
        services.locked(product_id)
    except Product.DoesNotExist as error:
        raise Http404 from error
    if "If-Match" in request.headers:
        check_if_match(request.headers["If-Match"], etag_of(document_of(product_id)))


class ProductViewSet(ListModelMixin, GenericViewSet[Any]):
    queryset = Product.objects.listed().rows()
    filter_backends = (ProductFilterBackend,)
    filterset_class = ProductFilter
    serializer_class = ProductSerializer
    pagination_class = ProductPagination
    permission_classes = (MayWrite,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None for reads, and none for a method that is not here: that is a 405 for everybody."""
        method = (self.request.method or "").lower()
        return [StaffSession()] if self.action_map.get(method) in PERMISSIONS else []

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        known = [*ProductPagination.parameters(), *ProductFilter.base_filters]
        check_parameters(request.query_params, known, repeatable=["category"])
        return super().list(request)

    def retrieve(self, request: Request, pk: int) -> HttpResponse | Response:
        check_parameters(request.query_params, ())
        document = document_of(pk)
        answer = answer_with(document, cache="no-cache")
        if is_not_modified(request.headers.get("If-None-Match"), answer["ETag"]):
            kept = {name: answer[name] for name in ("ETag", "Cache-Control")}
            return Response(status=304, headers=kept | {"Content-Length": str(len(document))})
        return answer

    def create(self, request: Request) -> HttpResponse:
        check_parameters(request.query_params, ())
        key = idempotency.key_in(request.headers)
        body = read_json(request)
        fields = ProductInput(data=body).checked()

        @services.transactional
        def make() -> HttpResponse:
            product = services.create(**fields)
            answer = answer_with(document_of(product.pk), 201)
            answer["Location"] = request.build_absolute_uri(reverse("product", args=[product.pk]))
            return answer

        if key is None:
            return make()
        return idempotency.answer_once(f"user:{request.user.pk}", key, body, make)

    def partial_update(self, request: Request, pk: int) -> HttpResponse:
        check_parameters(request.query_params, ())
        fields = ProductInput(data=read_json(request), partial=True).checked()

        @services.transactional
        def write() -> HttpResponse:
            lock_as_expected(request, pk)
            services.change(pk, **fields)
            return answer_with(document_of(pk))

        return write()

    def destroy(self, request: Request, pk: int) -> Response:
        check_parameters(request.query_params, ())

        @services.transactional
        def write() -> None:
            lock_as_expected(request, pk)
            services.withdraw(pk)

        write()
        return Response(status=204, headers={"Cache-Control": "no-store"})
