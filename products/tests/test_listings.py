"""A Listing carries every filter from the request to the SQL, and a new filter is added in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import pytest
from django.http import QueryDict
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from dev.testing.offers import make_offers
from products.listing.conditions import Condition
from products.listing.filters import Filter, Texts
from products.listing.listing_parameters import PARAMETERS, ListingParameters
from products.listing.listings import Listing
from products.listing.pagination import ProductPagination
from products.listing.sources import Source, Sql
from products.listing.statistics import SampleSet, Statistics
from products.models import Product
from products.serializers import ProductSerializer
from products.views import ProductViewSet

pytestmark = pytest.mark.django_db

FILTERS = {name: field for name, field in PARAMETERS.fields.items() if isinstance(field, Filter)}
REQUEST = Request(APIRequestFactory().get("/products"))


class OfGrade(NamedTuple):
    grade: str

    def sql(self) -> Sql:
        return Sql("p.grade = %s", (self.grade,))

    def sampled(self, statistics: Statistics, order: str) -> SampleSet:
        return statistics.all_products()

    def sources(self, statistics: Statistics, order: str) -> Iterator[Source]:
        yield from ()


class GradeFilter(Filter):
    schema: ClassVar[dict[str, Any]] = {"type": "string"}

    def to_internal_value(self, data: str) -> Texts:
        return (data,)

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        return [OfGrade(texts[0])]


class ParametersWithGrade(ListingParameters):
    grade = GradeFilter(help_text="A grade.", example="A")


class View(APIView):
    @extend_schema(parameters=[ParametersWithGrade], responses=ProductSerializer)
    def get(self, request: Request) -> None:
        raise NotImplementedError


def listing_of(query: str, parameters: ListingParameters = PARAMETERS) -> Listing:
    listing = parameters.read(QueryDict(query))
    assert isinstance(listing, Listing)
    return listing


def names(listing: Listing) -> list[str]:
    return [row["name"] for row in ProductPagination().paginate_queryset(listing, REQUEST)]


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_reaches_the_sql_and_the_links(name: str) -> None:
    make_offers([{"name": "mango"}])
    text = {"q": "mango", "category": "fruits", "state": "goa", "organic": "true", "in_stock": "true"}.get(name, "45")
    listing = listing_of(f"{name}={text}")
    assert len(listing.conditions) == 1
    assert [parameter for parameter, _ in listing.filters] == [name]


def test_a_filter_is_added_by_one_declaration() -> None:
    make_offers([{"name": "first", "grade": "A"}, {"name": "second", "grade": "B"}])
    parameters = ParametersWithGrade()
    assert names(listing_of("grade=B", parameters)) == ["second"]
    assert names(listing_of("grade=B&price_min=51", parameters)) == []
    assert listing_of("limit=2&grade=B", parameters).parameters() == [("grade", "B"), ("limit", "2")]
    document = SchemaGenerator(patterns=[path("x", View.as_view())]).get_schema()  # type: ignore[no-untyped-call]
    assert {
        "name": "grade",
        "in": "query",
        "schema": {"type": "string", "examples": ["A"]},
        "description": "A grade.",
    } in document["paths"]["/x"]["get"]["parameters"]


@pytest.mark.parametrize(
    ("query", "spelling"),
    [
        ("", ""),
        ("sort=-created_at&limit=25", ""),
        (
            "in_stock=true&category=fruits&category=cereals&category=fruits",
            "category=cereals&category=fruits&in_stock=true",
        ),
        ("price_max=45&price_min=1.5&q=%20Ripe++MANGO", "q=ripe+mango&price_min=1.50&price_max=45.00"),
        ("farm=007&state=no-such-state&limit=10", "state=no-such-state&farm=7&limit=10"),
        ("ids=3&ids=1,3&fields=name,id", "ids=3%2C1&fields=id%2Cname"),
    ],
)
def test_normalised_query_needs_no_statement(
    query: str, spelling: str, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(0):
        assert PARAMETERS.normalised(QueryDict(query)) == spelling


def test_a_queryset_is_refused_because_its_filters_would_be_lost() -> None:
    queryset: Any = Product.objects.filter(organic=True)
    with pytest.raises(TypeError, match="QuerySet"):
        ProductPagination().paginate_queryset(queryset, REQUEST)
    assert not hasattr(ProductViewSet, "get_queryset")
    assert not hasattr(ProductViewSet, "filter_backends")


def test_a_listing_cannot_be_changed() -> None:
    listing: Any = listing_of("organic=true")
    with pytest.raises(AttributeError):
        listing.conditions = ()
    with pytest.raises(AttributeError):
        listing.extra = ()
    assert isinstance(listing.conditions, tuple)
