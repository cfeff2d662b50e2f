"""GET /products, cached and throttled; GET /products/uncached, the same without the cache."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer, ReadOnlyField
from rest_framework.throttling import AnonRateThrottle

from .models import Category, Commodity, District, Farm, Product, State

ADDRESSES = 10_000
NAMED = ("category", "commodity", "district", "state")


def named(model: Any) -> Any:
    meta = type("Meta", (), {"model": model, "fields": ["slug", "name"]})
    return type(f"{model.__name__}Serializer", (ModelSerializer,), {"Meta": meta})()


class FarmSerializer(ModelSerializer[Farm]):
    class Meta:
        model = Farm
        fields = ("id", "name")


class ProductSerializer(ModelSerializer[Product]):
    category, commodity = named(Category), named(Commodity)
    district, state = named(District), named(State)
    farm = FarmSerializer()
    currency = ReadOnlyField()
    in_stock = ReadOnlyField()

    class Meta:
        model = Product
        fields = (
            *("id", "name", "slug", "description", "category", "commodity", "variety", "grade", "farm", "district"),
            *("state", "price", "currency", "unit", "stock", "in_stock", "organic", "created_at", "updated_at"),
        )


class Newest(CursorPagination):
    page_size, max_page_size, page_size_query_param = 25, 100, "limit"
    ordering = "-created_at"


class Throttle(AnonRateThrottle):
    """Treats the load as coming from many addresses. The throttle keeps a list of each address's requests in the last
    minute; for a single address its length would dominate the measurement."""

    def get_ident(self, request: Request) -> str:
        return str(random.randrange(ADDRESSES))


class ProductList(ListAPIView[Product]):
    # With select_related() MariaDB joins a million products and sorts them, because it plans joins without the LIMIT.
    queryset = Product.objects.filter(is_active=True).prefetch_related(*NAMED, "farm")
    serializer_class = ProductSerializer
    pagination_class = Newest
    throttle_classes = (Throttle,)


class CachedProductList(ProductList):
    @method_decorator(cache_page(3600))
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def metrics(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    from prometheus_client import Counter, Histogram  # noqa: PLC0415  # it creates files, so import it only where metrics are on

    requests = Counter("requests", "Answers", ["method", "route", "status"])
    seconds = Histogram("request_seconds", "Time", ["method", "route"])

    def measured(request: HttpRequest) -> HttpResponse:
        start = time.perf_counter()
        response = get_response(request)
        route = request.resolver_match.route if request.resolver_match else ""
        requests.labels(request.method, route, response.status_code).inc()
        seconds.labels(request.method, route).observe(time.perf_counter() - start)
        return response

    return measured


urlpatterns = [
    path("products", CachedProductList.as_view()),
    path("products/uncached", ProductList.as_view()),
]
