"""The OpenAPI descriptions of the catalogue's operations. Limits and patterns come from the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import QueryDict
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import F, OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import NotAuthenticated, PermissionDenied, UnsupportedMediaType

from farmlokal.http.exception_handlers import nothing_at
from farmlokal.http.json_bodies import JSONObject, parse_json
from farmlokal.http.problems import Problem
from farmlokal.http.query_parameters import check_parameters
from farmlokal.openapi.parameters import (
    CONDITIONAL_READ,
    CONDITIONAL_WRITE,
    JSON,
    NOT_MODIFIED,
    X_CACHE,
    cache_control,
    constant_header,
    etag,
    header,
    parameter,
    response,
    vary,
    whole,
)
from farmlokal.openapi.problems import ANYWHERE, NOT_MATCHED, RATE_LIMITED, problem_responses, raised_by
from products.idempotency import HEADER as IDEMPOTENCY_KEY
from products.idempotency import KEY, QUOTED, conflict, mismatch
from products.listing.listing_parameters import PARAMETERS, ListingParameters
from products.listing.parameters import ID
from products.serializers import (
    CategoryListSerializer,
    NewProductSerializer,
    ProductChangeSerializer,
    ProductPageSerializer,
    ProductSerializer,
    StateListSerializer,
)

LISTING_CACHE_CONTROL = "public, max-age=30, stale-while-revalidate=60, stale-if-error=600"
DETAIL_CACHE_CONTROL = "no-cache"
WRITTEN_CACHE_CONTROL = "no-store"


# Examples

MANGO: JSON = {
    "id": 48213,
    "name": "Alphonso Mango, Grade A",
    "slug": "alphonso-mango-grade-a",
    "description": "Ripened on straw, picked this week.",
    "category": {"slug": "fruits", "name": "Fruits"},
    "commodity": {"slug": "mango", "name": "Mango"},
    "variety": "Alphonso",
    "grade": "A",
    "farm": {"id": 311, "name": "Patil Farm, Ratnagiri"},
    "district": {"slug": "ratnagiri", "name": "Ratnagiri"},
    "state": {"slug": "maharashtra", "name": "Maharashtra"},
    "price": "120.00",
    "currency": "INR",
    "unit": "kg",
    "stock": 80,
    "in_stock": True,
    "organic": False,
    "created_at": "2026-05-02T04:30:00.000000Z",
    "updated_at": "2026-05-09T11:05:12.250000Z",
}
CURSOR = "q2mI5hJ0o3mYb2c8Jv0Zk1x7a9Q"
NEXT = f"https://api.farmlokal.example/products?sort=price&limit=1&cursor={CURSOR}"
OFFER: JSON = {
    "name": "Alphonso Mango",
    "commodity": "mango",
    "grade": "A",
    "farm": 311,
    "price": "120.50",
    "stock": 80,
}


# Parameters

PRODUCT_ID = OpenApiParameter("id", ID, OpenApiParameter.PATH, examples=[OpenApiExample("id", value=48213)])
KEY_PARAMETER = parameter(
    IDEMPOTENCY_KEY,
    "A new key for each new product, such as a UUID. A POST repeated with the same key and body creates no second "
    "product: it gets the first response again. Keys are kept for 24 hours.",
    {"type": "string", "pattern": whole(rf'(?!"){KEY.pattern}|(?!""|" )(?:{QUOTED.pattern})(?<! ")')},
    "8e03978e-40d5-43e8-bc93-6894a57f9324",
    OpenApiParameter.HEADER,
)

LINK_HEADER = header(
    "Link",
    "`next` and `previous`, as in the body (RFC 8288).",
    {"type": "string"},
    f'<{NEXT}>; rel="next"',
    200,
    required=False,
)
LOCATION = header(
    "Location",
    "The URL of the new product.",
    {"type": "string", "format": "uri"},
    "https://api.farmlokal.example/products/48213",
    201,
)
REPLAYED = constant_header(
    "Idempotent-Replayed", "Only on a repeated response to an earlier request.", "true", 201, required=False
)
CHALLENGE = header(
    "WWW-Authenticate", "The authentication scheme.", {"type": "string"}, 'Session realm="farmlokal"', 401
)
LISTING_PARAMETERS = (*CONDITIONAL_READ, X_CACHE, cache_control(LISTING_CACHE_CONTROL, 200, 304), vary(200, 304))
WRITE_PARAMETERS = (CHALLENGE, etag(200, 201), cache_control(WRITTEN_CACHE_CONTROL, 200, 201, 204))


# Errors

ONE = "/products/48213"
UNKNOWN = raised_by(lambda: check_parameters(QueryDict("page=2"), ()))
BAD_CURSOR = raised_by(lambda: PARAMETERS.read(QueryDict("cursor=x")))
BAD_SORT = raised_by(lambda: PARAMETERS.read(QueryDict("sort=stock")))
BAD_PRICE = raised_by(ProductChangeSerializer(data=JSONObject([("price", 120.5)])).checked)
NOT_JSON = raised_by(lambda: parse_json(""))
NOT_THERE = Problem("not-found", nothing_at(ONE))
KEYS_AWAY = Problem("auth-unavailable", "Cannot fetch the token provider's keys.")
# Reads are open, but an invalid token is an error.
BEARER = (
    Problem("not-authenticated", "The bearer token is not accepted. It has expired."),
    Problem("permission-denied", "This client is deactivated."),
    KEYS_AWAY,
)
OF_READS = (NOT_MATCHED, *BEARER, *ANYWHERE, RATE_LIMITED)
OF_WRITES = (NotAuthenticated(), PermissionDenied(), KEYS_AWAY, *ANYWHERE, RATE_LIMITED)
OF_BODIES = (BAD_PRICE, NOT_JSON, UnsupportedMediaType("text/plain"))


# Operations

list_products = extend_schema(
    operation_id="listProducts",
    summary="List products: filter, search, sort, page",
    description="A page costs the same at every depth. To read on, follow `next` until it is null.",
    tags=["catalogue"],
    parameters=[ListingParameters, *LISTING_PARAMETERS, LINK_HEADER],
    responses={
        200: response(
            ProductPageSerializer,
            "A page.",
            page={"next": NEXT, "previous": None, "results": [MANGO]},
            selected={"next": None, "previous": None, "results": [{"id": 48213, "name": "Mango", "price": "120.00"}]},
            by_id={"next": None, "previous": None, "results": [MANGO], "missing": [7]},
        ),
        304: NOT_MODIFIED,
        **problem_responses("/products", BAD_SORT, BAD_CURSOR, *OF_READS),
    },
)
retrieve = extend_schema(
    operation_id="getProduct",
    summary="Get a product",
    tags=["catalogue"],
    parameters=[PRODUCT_ID, *CONDITIONAL_READ, X_CACHE, cache_control(DETAIL_CACHE_CONTROL, 200, 304)],
    responses={
        200: response(ProductSerializer, "The product.", mango=MANGO),
        304: NOT_MODIFIED,
        **problem_responses(ONE, UNKNOWN, NOT_THERE, *OF_READS),
    },
)
create = extend_schema(
    operation_id="createProduct",
    summary="Create a product",
    description="The next request for the listing shows it.",
    tags=["catalogue"],
    parameters=[KEY_PARAMETER, *WRITE_PARAMETERS, LOCATION, REPLAYED],
    request={"application/json": NewProductSerializer},
    examples=[OpenApiExample("offer", value=OFFER, request_only=True)],
    responses={
        201: response(ProductSerializer, "The new product.", mango=MANGO),
        **problem_responses("/products", *OF_BODIES, conflict(), mismatch(), *OF_WRITES),
    },
)
partial_update = extend_schema(
    operation_id="changeProduct",
    summary="Change a product",
    tags=["catalogue"],
    parameters=[PRODUCT_ID, *CONDITIONAL_WRITE, *WRITE_PARAMETERS],
    request={"application/json": ProductChangeSerializer},
    examples=[OpenApiExample("price", value={"price": "110.00", "stock": 60}, request_only=True)],
    responses={
        200: response(ProductSerializer, "The changed product.", mango={**MANGO, "price": "110.00", "stock": 60}),
        **problem_responses(ONE, *OF_BODIES, NOT_THERE, NOT_MATCHED, *OF_WRITES),
    },
)
destroy = extend_schema(
    operation_id="withdrawProduct",
    summary="Withdraw a product",
    description="No page shows it any more. References to it elsewhere stay valid.",
    tags=["catalogue"],
    parameters=[PRODUCT_ID, *CONDITIONAL_WRITE, *WRITE_PARAMETERS],
    responses={
        204: response(None, "The product is withdrawn."),
        **problem_responses(ONE, UNKNOWN, NOT_THERE, NOT_MATCHED, *OF_WRITES),
    },
)


def vocabulary(operation_id: str, summary: str, path: str, serializer: Any, example: JSON) -> Callable[[F], F]:
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=["vocabulary"],
        parameters=[*LISTING_PARAMETERS],
        responses={
            200: response(serializer, "Sorted by name.", start={"results": [example]}),
            304: NOT_MODIFIED,
            **problem_responses(path, UNKNOWN, *OF_READS),
        },
    )


list_categories = vocabulary(
    "listCategories",
    "List all categories with their commodities",
    "/categories",
    CategoryListSerializer,
    {**MANGO["category"], "commodities": [MANGO["commodity"]]},
)
list_states = vocabulary(
    "listStates",
    "List all states with their districts",
    "/states",
    StateListSerializer,
    {**MANGO["state"], "districts": [MANGO["district"]]},
)


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The three credentials that a session needs together. drf-spectacular finds it by its target."""

    target_class = "products.permissions.StaffSession"
    name = ["cookieAuth", "csrfCookie", "csrfToken"]  # noqa: RUF012  # as the base class has it

    def get_security_definition(self, auto_schema: Any) -> list[JSON]:
        session = "The session of a staff member, from logging in at /admin/."
        token = "32 letters and digits, the same in the cookie and in the header. Logging in sets the cookie."  # noqa: S105
        places = [
            ("cookie", settings.SESSION_COOKIE_NAME, session),
            ("cookie", settings.CSRF_COOKIE_NAME, token),
            ("header", "X-CSRFToken", token),
        ]
        return [{"type": "apiKey", "in": place, "name": name, "description": text} for place, name, text in places]
