"""Parameters and headers that several operations share, and short constructors for others."""

from __future__ import annotations

from typing import Any, TypeAlias

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from farmlokal.http.conditional import TAGS
from farmlokal.http.problems import RETRY_AFTER_SECONDS
from farmlokal.observability.logs import REQUEST_ID

JSON: TypeAlias = dict[str, Any]

REQUEST_ID_EXAMPLE = "f1d37b1c0c1f4a6db8a2a3c7d4a5e6b7"
ETAG_EXAMPLE = '"9f86d081884c7d659a2feaa0c55ad015"'


def whole(pattern: str) -> str:
    """Anchored: JSON Schema searches for a pattern anywhere in a string."""
    return f"^(?:{pattern})$"


def parameter(
    name: str, description: str, schema: JSON, example: Any, location: Any = OpenApiParameter.QUERY, **options: Any
) -> OpenApiParameter:
    """The example is in the schema: Swagger UI would send one beside it by default."""
    return OpenApiParameter(name, schema | {"examples": [example]}, location, description=description, **options)


def header(name: str, description: str, schema: JSON, example: Any, *statuses: int, **options: Any) -> OpenApiParameter:
    """A response header, of these statuses or of all."""
    return OpenApiParameter(
        name,
        schema,
        OpenApiParameter.HEADER,
        description=description,
        examples=[OpenApiExample(name, value=example)],
        response=list(statuses) or True,
        **{"required": True} | options,
    )


def constant_header(name: str, description: str, value: str, *statuses: int, **options: Any) -> OpenApiParameter:
    return header(name, description, {"type": "string", "const": value}, value, *statuses, **options)


def response(content: Any, description: str, **examples: Any) -> OpenApiResponse:
    """content: a serializer, a schema or None."""
    return OpenApiResponse(
        content, description, [OpenApiExample(name, value=value) for name, value in examples.items()]
    )


NOT_MODIFIED = response(None, "Not modified: the client has this representation.")
HEADERS = (
    header(
        "X-Request-ID",
        "The request's X-Request-ID if it is well-formed, else a new one. Log lines contain it.",
        {"type": "string", "pattern": whole(REQUEST_ID.pattern)},
        REQUEST_ID_EXAMPLE,
    ),
    header(
        "Retry-After",
        "Seconds to wait before the next attempt.",
        {"type": "integer", "minimum": 1},
        RETRY_AFTER_SECONDS,
        *(409, 429, 503),
    ),
)
RATE_LIMITS = (
    header(
        "RateLimit-Policy",
        "The limit's name, and how many requests (`q`) it allows in how many seconds (`w`). Absent without a limit.",
        {"type": "string", "pattern": r'^"[a-z]+";q=\d+;w=\d+$'},
        '"anonymous";q=120;w=60',
        required=False,
    ),
    header(
        "RateLimit",
        "How many requests remain (`r`), and in how many seconds there will be one more (`t`).",
        {"type": "string", "pattern": r'^"[a-z]+";r=\d+;t=\d+$'},
        '"anonymous";r=119;t=1',
        required=False,
    ),
)
X_CACHE = header(
    "X-Cache",
    "`hit`: from the cache. `miss`: rendered now. `stale`: from the cache, expired but not older than the last write "
    "(except while the database is unavailable). `bypass`: rendered now and not cached.",
    {"type": "string", "enum": ["hit", "miss", "stale", "bypass"]},
    "hit",
    *(200, 304),
)


def etag(*statuses: int) -> OpenApiParameter:
    schema = {"type": "string", "pattern": '^(W/)?"[0-9a-f]{32}"$'}
    return header("ETag", "Identifies this version. Weak if the body is compressed.", schema, ETAG_EXAMPLE, *statuses)


def cache_control(value: str, *statuses: int) -> OpenApiParameter:
    return constant_header("Cache-Control", "How long caches may store the response.", value, *statuses)


def vary(*statuses: int) -> OpenApiParameter:
    text = "The request headers that change the response."
    return constant_header("Vary", text, "Accept-Encoding", *statuses)


ENTITY_TAGS: JSON = {"type": "string", "format": "entity-tags", "pattern": whole(rf"[ \t]*\*[ \t]*|{TAGS.pattern}")}
IF_MATCH = parameter(
    "If-Match",
    "Entity tags, or `*`. The response is a 412 if the resource has none of them. Weak tags never match.",
    ENTITY_TAGS,
    ETAG_EXAMPLE,
    OpenApiParameter.HEADER,
)
IF_NONE_MATCH = parameter(
    "If-None-Match",
    "Entity tags that the client has. The response is a 304 if one of them is current.",
    {"type": "string"},
    ETAG_EXAMPLE,
    OpenApiParameter.HEADER,
)
IF_NONE_MATCH_TO_WRITE = parameter(
    "If-None-Match",
    "Entity tags, or `*`. The response is a 412 if the resource has one of them.",
    ENTITY_TAGS,
    '"b1946ac92492d2347c6235b4d2611184"',
    OpenApiParameter.HEADER,
)
CONDITIONAL_READ = (IF_MATCH, IF_NONE_MATCH, etag(200, 304))
CONDITIONAL_WRITE = (IF_MATCH, IF_NONE_MATCH_TO_WRITE)
