"""The descriptions of the catalogue's calls, for the OpenAPI document. Limits and patterns are those of the code."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from farmlokal.openapi.building import (
    HEADERS,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_NONE_MATCH_TO_WRITE,
    JSON,
    RATE_LIMITS,
    X_CACHE,
    answer,
    cache_control,
    closed,
    component,
    empty,
    etag,
    header,
    parameter,
    vary,
    whole,
)
from farmlokal.openapi.problems import ANYWHERE, NOT_MATCHED, RATE_LIMITED, Refusal, refusals
from products.idempotency import HEADER as IDEMPOTENCY_KEY
from products.idempotency import KEY, QUOTED
from products.listing.filters import MAX_CATEGORIES, MAX_Q_LENGTH, PRICE, SLUG
from products.listing.projection import ALL, FIELDS, IDS, MAX_IDS
from products.listing.queries import ProductPagination
from products.models import MAX_DESCRIPTION_LENGTH, MAX_STOCK, SORT_FIELDS, Product
from products.serializers import ProductInput
from products.validators import NOT_IN_LINE, NOT_IN_TEXT

LISTING_CACHE_CONTROL = "public, max-age=30, stale-while-revalidate=60, stale-if-error=600"
DETAIL_CACHE_CONTROL = "no-cache"
WRITTEN_CACHE_CONTROL = "no-store"

MAX_ID = 10**18 - 1  # 18 digits
SORTS = [f"{sign}{field}" for field in SORT_FIELDS for sign in ("", "-")]
MAX_NAME_LENGTH = Product._meta.get_field("name").max_length
MAX_VARIETY_LENGTH = Product._meta.get_field("variety").max_length

ID: JSON = {"type": "integer", "minimum": 0, "maximum": MAX_ID}
SLUG_TEXT: JSON = {"type": "string", "pattern": whole(SLUG)}
LINE: JSON = {"type": "string", "pattern": f"^[^{NOT_IN_LINE}]*$"}
TEXT: JSON = {"type": "string", "pattern": f"^[^{NOT_IN_TEXT}]*$"}
MONEY: JSON = {"type": "string", "pattern": r"^[0-9]{1,8}\.[0-9]{2}$"}
MOMENT: JSON = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
    "description": "UTC, with microseconds.",
}
GRADE: JSON = {"type": "string", "enum": Product.Grade.values}
UNIT: JSON = {"type": "string", "enum": Product.Unit.values, "description": "What the price is for."}
STOCK: JSON = {"type": "integer", "minimum": 0, "maximum": MAX_STOCK, "description": "In units."}


# Documents

NAMED = component("Named", closed({"slug": SLUG_TEXT, "name": {"type": "string"}}))
FARM = component("Farm", closed({"id": ID, "name": {"type": "string"}}))
MEMBERS: JSON = {
    "id": ID,
    "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH},
    "slug": {"type": "string", "description": "From the name, for URLs of people; not a key."},
    "description": {"type": "string"},
    "category": NAMED,
    "commodity": NAMED,
    "variety": {"type": "string", "maxLength": MAX_VARIETY_LENGTH},
    "grade": GRADE,
    "farm": FARM,
    "district": NAMED,
    "state": NAMED,
    "price": {**MONEY, "description": "For one unit."},
    "currency": {"type": "string", "const": "INR"},
    "unit": UNIT,
    "stock": STOCK,
    "in_stock": {"type": "boolean", "description": "Whether the stock is above 0."},
    "organic": {"type": "boolean"},
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
PRODUCT = component("Product", closed(MEMBERS, description="What one farm offers."))
SELECTED = component(
    "SelectedProduct",
    closed(MEMBERS, optional=[name for name in MEMBERS if name != "id"], description=f"What `{FIELDS}` asks for."),
)
LINK: JSON = {"type": ["string", "null"], "format": "uri"}
PAGE = component(
    "ProductPage",
    closed(
        {
            "next": LINK,
            "previous": LINK,
            "results": {
                "type": "array",
                "items": {"anyOf": [PRODUCT, SELECTED]},
                "maxItems": ProductPagination.max_page_size,
            },
            "missing": {
                "type": "array",
                "items": ID,
                "description": f"Only for `{IDS}`: those of them that are not there, in the order asked for.",
            },
        },
        optional=["missing"],
    ),
)


def vocabulary(name: str, children: str) -> JSON:
    inner = {"type": "array", "items": NAMED}
    entry = component(name, closed({"slug": SLUG_TEXT, "name": {"type": "string"}, children: inner}))
    return component(f"{name}List", closed({"results": {"type": "array", "items": entry}}))


CATEGORIES = vocabulary("Category", "commodities")
STATES = vocabulary("State", "districts")


def above_zero(price: str) -> JSON:
    return {"type": "string", "pattern": whole(rf"(?=.*[1-9])(?:{price})")}


WRITABLE: JSON = {
    "name": {
        "type": "string",
        "maxLength": MAX_NAME_LENGTH,
        "pattern": LINE["pattern"],
        "not": {"pattern": r"^[^\p{L}\p{N}]*$"},  # Python clients would fail to compile it as the pattern
        "description": "With a letter or a digit; blanks around it are dropped.",
    },
    "description": {**TEXT, "maxLength": MAX_DESCRIPTION_LENGTH},
    "commodity": {**SLUG_TEXT, "description": "A slug of GET /categories; the category follows from it."},
    "variety": {**LINE, "maxLength": MAX_VARIETY_LENGTH},
    "grade": GRADE,
    "farm": {**ID, "minimum": 1, "description": "Its id; district and state follow from it."},
    "price": {
        **above_zero(PRICE),
        "description": "Rupees for one unit, 0.01 or more. A string: a JSON number would be a float to many.",
    },
    "unit": UNIT,
    "stock": STOCK,
    "organic": {"type": "boolean"},
}
OPTIONAL = [name for name, field in ProductInput().fields.items() if not field.required]
NEW_PRODUCT = component("NewProduct", closed(WRITABLE, OPTIONAL))
PRODUCT_CHANGE = component("ProductChange", closed(WRITABLE, optional=list(WRITABLE), description="What is to change."))


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


def choice(name: str, description: str, example: str) -> OpenApiParameter:
    return parameter(name, description, SLUG_TEXT, example)


RUPEES: JSON = {"type": "string", "pattern": whole(PRICE)}
# Without the keyword "default": generated clients would send the default, and next to `ids` it is an error.
LIST_PARAMETERS = [
    parameter(
        ProductPagination.limit_param,
        f"Products a page; {ProductPagination.page_size} by default.",
        {"type": "integer", "minimum": 1, "maximum": ProductPagination.max_page_size},
        50,
    ),
    parameter(
        ProductPagination.cursor_param,
        "Where the page begins: from `next` or `previous`, with the same sort and filters. Opaque.",
        {"type": "string", "pattern": "^[-_A-Za-z0-9]+$"},
        CURSOR,
    ),
    parameter(
        ProductPagination.sort_param,
        f"The order, by default `{ProductPagination.default_sort}`. Products that are equal in it are ordered by id.",
        {"type": "string", "enum": SORTS},
        "price",
    ),
    parameter(
        "q",
        f"1 to {MAX_Q_LENGTH} characters besides the blanks around them. Every word must be in name, commodity, "
        "variety, farm, district or state; the last one may be the beginning of one, from three letters on.",
        {"type": "string", "pattern": rf"^\s*\S(?:[\s\S]{{0,{MAX_Q_LENGTH - 2}}}\S)?\s*$"},
        "alphonso man",
    ),
    parameter(
        "category",
        "Slugs of GET /categories: products of any of them.",
        {"type": "array", "items": SLUG_TEXT, "minItems": 1, "maxItems": MAX_CATEGORIES},
        ["fruits", "vegetables"],
        style="form",
        explode=True,
    ),
    choice("commodity", "A slug of GET /categories.", "mango"),
    choice("state", "A slug of GET /states.", "maharashtra"),
    choice("district", "A slug of GET /states.", "ratnagiri"),
    parameter("farm", "The id of a farm.", ID, 311),
    parameter("price_min", "Rupees, inclusive.", RUPEES, "45"),
    parameter("price_max", "Rupees, inclusive; not below price_min.", RUPEES, "99.50"),
    parameter("organic", "Organic ones only, or the others only.", {"type": "boolean"}, True),
    parameter("in_stock", "Only what is in stock, or only what is not.", {"type": "boolean"}, True),
    parameter(
        FIELDS,
        "Members that each product has in the answer; `id` is always there. `fields=name,price` is accepted, too.",
        {"type": "array", "items": {"type": "string", "enum": list(ALL)}, "minItems": 1},
        ["name", "price"],
        style="form",
        explode=True,
    ),
    parameter(
        IDS,
        f"Products by id, in this order. Only `{FIELDS}` may be given with it. `ids=1,2` is accepted, too.",
        {"type": "array", "items": ID, "minItems": 1, "maxItems": MAX_IDS},
        [48213, 7],
        style="form",
        explode=True,
    ),
]
PRODUCT_ID = OpenApiParameter("id", ID, OpenApiParameter.PATH, examples=[OpenApiExample("id", value=48213)])
KEY_PARAMETER = parameter(
    IDEMPOTENCY_KEY,
    "New for each product that is to be made, such as a UUID: a POST that is sent again with its key and body makes "
    "no second product, and gets the first answer again. Keys are kept for 24 hours.",
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
    "The new product.",
    {"type": "string", "format": "uri"},
    "https://api.farmlokal.example/products/48213",
    201,
)
REPLAYED = header(
    "Idempotent-Replayed",
    "Only on an answer that was given before.",
    {"type": "string", "const": "true"},
    "true",
    201,
    required=False,
)
CHALLENGE = header("WWW-Authenticate", "What is asked for.", {"type": "string"}, 'Session realm="farmlokal"', 401)


# What is refused

UNKNOWN = Refusal.of("invalid-parameter", "parameter", "page", "is not a parameter here.")
BAD_CURSOR = Refusal.of(
    "cursor-invalid",
    "parameter",
    "cursor",
    "is not a cursor of this listing, or belongs to another sort or filter; start without one.",
)
BAD_SORT = Refusal.of("invalid-parameter", "parameter", "sort", f"must be one of {', '.join(SORTS)}.", allowed=SORTS)
BAD_PRICE = Refusal.of(
    "invalid-parameter",
    "pointer",
    "/price",
    'must be a string from "0.01" to "99999999.99", with at most two decimals.',
)
NOT_JSON = Refusal("bad-request", "The body is not JSON: Expecting value, line 1, column 1.")
NOT_SIGNED_IN = Refusal("not-authenticated", "Authentication credentials were not provided.")
NOT_ALLOWED = Refusal("permission-denied", "You do not have permission to perform this action.")
KEYS_AWAY = Refusal("auth-unavailable", "The keys of the tokens' provider are not to be had.")
# Of open reads: for who brings a token.
BEARER = (
    Refusal("not-authenticated", "The bearer token is not accepted: it has expired."),
    Refusal("permission-denied", "This client is switched off."),
    KEYS_AWAY,
)
NOT_THERE = Refusal("not-found", "There is nothing at /products/48213.")
NOT_A_MEDIA_TYPE = Refusal("unsupported-media-type", 'Unsupported media type "text/plain" in request.')
RUNNING = Refusal("idempotency-conflict", "Idempotency-Key: the first request with this key is still running.")
OTHER_BODY = Refusal.of(
    "idempotency-mismatch", "header", IDEMPOTENCY_KEY, "was used with another body; a new request needs a new key."
)
NOT_MODIFIED = empty("Not modified: the client has it already.")
ONE = "/products/48213"


# Calls

LISTING_HEADERS = [
    *HEADERS,
    *RATE_LIMITS,
    X_CACHE,
    etag(200, 304),
    cache_control(LISTING_CACHE_CONTROL, 200, 304),
    vary(200, 304),
]
list_products = extend_schema(
    operation_id="listProducts",
    summary="Pages of products, filtered, searched and sorted",
    description="A page costs the same at every depth. To read on, follow `next` until it is null.",
    tags=["catalogue"],
    parameters=[*LIST_PARAMETERS, IF_MATCH, IF_NONE_MATCH, *LISTING_HEADERS, LINK_HEADER],
    responses={
        200: answer(
            PAGE,
            "A page.",
            page={"next": NEXT, "previous": None, "results": [MANGO]},
            selected={"next": None, "previous": None, "results": [{"id": 48213, "name": "Mango", "price": "120.00"}]},
            by_id={"next": None, "previous": None, "results": [MANGO], "missing": [7]},
        ),
        304: NOT_MODIFIED,
        **refusals("/products", BAD_SORT, BAD_CURSOR, NOT_MATCHED, *BEARER, *ANYWHERE, RATE_LIMITED),
    },
)
retrieve = extend_schema(
    operation_id="getProduct",
    summary="One product",
    tags=["catalogue"],
    parameters=[
        PRODUCT_ID,
        IF_MATCH,
        IF_NONE_MATCH,
        *HEADERS,
        *RATE_LIMITS,
        X_CACHE,
        etag(200, 304),
        cache_control(DETAIL_CACHE_CONTROL, 200, 304),
    ],
    responses={
        200: answer(PRODUCT, "The product.", mango=MANGO),
        304: NOT_MODIFIED,
        **refusals(ONE, UNKNOWN, NOT_THERE, NOT_MATCHED, *BEARER, *ANYWHERE, RATE_LIMITED),
    },
)
WRITTEN_HEADERS = [
    *HEADERS,
    *RATE_LIMITS,
    CHALLENGE,
    etag(200, 201),
    cache_control(WRITTEN_CACHE_CONTROL, 200, 201, 204),
]
create = extend_schema(
    operation_id="createProduct",
    summary="A new product",
    description="The next request for the listing shows it.",
    tags=["catalogue"],
    parameters=[KEY_PARAMETER, *WRITTEN_HEADERS, LOCATION, REPLAYED],
    request={"application/json": NEW_PRODUCT},
    examples=[OpenApiExample("offer", value=OFFER, request_only=True)],
    responses={
        201: answer(PRODUCT, "The product.", mango=MANGO),
        **refusals(
            "/products",
            BAD_PRICE,
            NOT_JSON,
            NOT_SIGNED_IN,
            NOT_ALLOWED,
            KEYS_AWAY,
            RUNNING,
            NOT_A_MEDIA_TYPE,
            OTHER_BODY,
            *ANYWHERE,
            RATE_LIMITED,
        ),
    },
)
partial_update = extend_schema(
    operation_id="changeProduct",
    summary="Change a product",
    tags=["catalogue"],
    parameters=[PRODUCT_ID, IF_MATCH, IF_NONE_MATCH_TO_WRITE, *WRITTEN_HEADERS],
    request={"application/json": PRODUCT_CHANGE},
    examples=[OpenApiExample("price", value={"price": "110.00", "stock": 60}, request_only=True)],
    responses={
        200: answer(PRODUCT, "The product as it is now.", mango={**MANGO, "price": "110.00", "stock": 60}),
        **refusals(
            ONE,
            BAD_PRICE,
            NOT_JSON,
            NOT_SIGNED_IN,
            NOT_ALLOWED,
            KEYS_AWAY,
            NOT_THERE,
            NOT_MATCHED,
            NOT_A_MEDIA_TYPE,
            *ANYWHERE,
            RATE_LIMITED,
        ),
    },
)
destroy = extend_schema(
    operation_id="withdrawProduct",
    summary="Withdraw a product",
    description="No page shows it any more. What refers to it elsewhere stays as it is.",
    tags=["catalogue"],
    parameters=[PRODUCT_ID, IF_MATCH, IF_NONE_MATCH_TO_WRITE, *WRITTEN_HEADERS],
    responses={
        204: empty("It is withdrawn."),
        **refusals(
            ONE, UNKNOWN, NOT_SIGNED_IN, NOT_ALLOWED, KEYS_AWAY, NOT_THERE, NOT_MATCHED, *ANYWHERE, RATE_LIMITED
        ),
    },
)
list_categories = extend_schema(
    operation_id="listCategories",
    summary="All categories, with their commodities",
    tags=["vocabulary"],
    parameters=[IF_MATCH, IF_NONE_MATCH, *LISTING_HEADERS],
    responses={
        200: answer(
            CATEGORIES,
            "By name.",
            start={
                "results": [{"slug": "fruits", "name": "Fruits", "commodities": [{"slug": "mango", "name": "Mango"}]}]
            },
        ),
        304: NOT_MODIFIED,
        **refusals("/categories", UNKNOWN, NOT_MATCHED, *BEARER, *ANYWHERE, RATE_LIMITED),
    },
)
list_states = extend_schema(
    operation_id="listStates",
    summary="All states, with their districts",
    tags=["vocabulary"],
    parameters=[IF_MATCH, IF_NONE_MATCH, *LISTING_HEADERS],
    responses={
        200: answer(
            STATES,
            "By name.",
            start={
                "results": [
                    {
                        "slug": "maharashtra",
                        "name": "Maharashtra",
                        "districts": [{"slug": "ratnagiri", "name": "Ratnagiri"}],
                    }
                ]
            },
        ),
        304: NOT_MODIFIED,
        **refusals("/states", UNKNOWN, NOT_MATCHED, *BEARER, *ANYWHERE, RATE_LIMITED),
    },
)


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """All three together. drf-spectacular finds it by its target."""

    target_class = "products.permissions.StaffSession"
    name = ["cookieAuth", "csrfCookie", "csrfToken"]  # noqa: RUF012  # as the base has it

    def get_security_definition(self, auto_schema: Any) -> list[JSON]:
        session = "The session of a member of staff who has logged in at /admin/."
        token = "Any 32 letters and digits, the same in the cookie and in the header; logging in sets the cookie."  # noqa: S105
        places = [
            ("cookie", settings.SESSION_COOKIE_NAME, session),
            ("cookie", settings.CSRF_COOKIE_NAME, token),
            ("header", "X-CSRFToken", token),
        ]
        return [{"type": "apiKey", "in": place, "name": name, "description": text} for place, name, text in places]
