"""The HTTP face of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.mixins import ListModelMixin
from rest_framework.viewsets import GenericViewSet

from farmlokal.errors import InvalidParameter
from products.models import Product
from products.pagination import ProductPagination
from products.serializers import ProductSerializer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import QueryDict
    from rest_framework.request import Request
    from rest_framework.response import Response


def check_parameters(given: QueryDict, known: Sequence[str]) -> None:
    """Raises InvalidParameter for one that is not known, or given twice: nothing is silently ignored."""
    for name, values in given.lists():
        if name not in known:
            raise InvalidParameter(name, f"is not a parameter here; known: {', '.join(known)}.", known)
        if len(values) > 1:
            raise InvalidParameter(name, "may be given only once.")


class ProductViewSet(ListModelMixin, GenericViewSet[Any]):
    queryset = Product.objects.listed().rows()
    serializer_class = ProductSerializer
    pagination_class = ProductPagination

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_parameters(request.query_params, ProductPagination.parameters())
        return super().list(request)
