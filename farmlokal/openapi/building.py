"""What the descriptions of all calls are made of; the descriptions themselves are in schema.py, here and in the apps.

A description says everything itself. Nothing is guessed from the code of a view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.http import HttpRequest
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_mock_request
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from farmlokal.http.conditional import TAGS
from farmlokal.http.problem_types import PROBLEM_TYPES
from farmlokal.http.problems import CONTENT_TYPE, RETRY_AFTER_SECONDS
from farmlokal.observability.logs import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rest_framework.views import APIView

JSON: TypeAlias = dict[str, Any]

REQUEST_ID_EXAMPLE = "f1d37b1c0c1f4a6db8a2a3c7d4a5e6b7"
COMPONENTS: JSON = {}
ABOUT = f"""\
The catalogue of a marketplace for Indian farm produce.

Every failure is `{CONTENT_TYPE}` (RFC 9457); programs go by its `code`:

| status | code | meaning |
|---|---|---|
{"".join(f"| {each.status} | `{code}` | {each.title} |" + chr(10) for code, each in PROBLEM_TYPES.items())}
An unknown parameter, a repeated single one or a bad value is refused by name, never ignored. Any other method
than those below, `HEAD` and `OPTIONS` is a 405 whose `Allow` names them. `HEAD` answers as `GET` does, without
the body. A request may bring its own `X-Request-ID`, 1 to 128 of `A-Z a-z 0-9 . _ -`; every answer carries one.
Lists are compressed on request (`Accept-Encoding: gzip`). A trailing slash is a 404.
"""


class Schema(AutoSchema):
    """DRF's schema class of all views."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False

    def get_auth(self) -> list[JSON]:
        """Reads are open, to who brings nothing."""
        requirements = [requirement for requirement in super().get_auth() if requirement]
        return [*requirements, {}] if requirements and self.method in SAFE_METHODS else requirements

    def _get_request_body(self, direction: Any = "request") -> JSON | None:
        body: JSON | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body | {"required": True} if body else None


def mock_request(method: str, path: str, view: APIView, original_request: Request | None, **options: Any) -> Request:
    """drf-spectacular's, for views that look at their request to say who may call them."""
    asked = HttpRequest()
    asked.method = method
    view.request = Request(asked)
    request: Request = build_mock_request(method, path, view, original_request, **options)  # type: ignore[no-untyped-call]
    return request


def complete(result: JSON, **_: Any) -> JSON:
    """drf-spectacular's hook at the end of its work."""
    result["info"]["description"] = ABOUT
    result["components"]["schemas"] = dict(sorted(COMPONENTS.items()))
    return result


def component(name: str, schema: JSON) -> JSON:
    """Takes the schema into the document under this name; returns the reference to it."""
    COMPONENTS[name] = schema
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: JSON, optional: Sequence[str] = (), **keywords: Any) -> JSON:
    """An object with these members and no others, all but the optional ones required."""
    required = [name for name in properties if name not in optional]
    schema = {"type": "object", "properties": properties, "additionalProperties": False, **keywords}
    return schema | {"required": required} if required else schema


def unseen(member: str, rule: JSON) -> JSON:
    """A rule for every object that has this member, where code generators do not look. Of a oneOf or an allOf they
    would make further types, or fail."""
    return {"dependentSchemas": {member: rule}}


def whole(pattern: str) -> str:
    """A pattern that fullmatch() takes, for JSON Schema, which searches."""
    return f"^(?:{pattern})$"


def parameter(
    name: str, description: str, schema: JSON, example: Any, location: Any = OpenApiParameter.QUERY, **options: Any
) -> OpenApiParameter:
    """With the example in its schema: from beside it, Swagger UI would send it unless it is taken out."""
    return OpenApiParameter(name, schema | {"examples": [example]}, location, description=description, **options)


def header(name: str, description: str, schema: JSON, example: Any, *statuses: int, **options: Any) -> OpenApiParameter:
    """One of an answer with any of these statuses, or of every answer."""
    return OpenApiParameter(
        name,
        schema,
        OpenApiParameter.HEADER,
        description=description,
        examples=[OpenApiExample(name, value=example)],
        response=list(statuses) or True,
        **{"required": True} | options,
    )


def answer(schema: JSON, description: str, **examples: Any) -> OpenApiResponse:
    shown = [OpenApiExample(name, value=value) for name, value in examples.items()]
    return OpenApiResponse(schema, description, shown)


def empty(description: str) -> OpenApiResponse:
    return OpenApiResponse(description=description)


REQUEST_ID_HEADER = header(
    "X-Request-ID",
    "The request's own X-Request-ID where that is well-formed, else a new one; it is in every log line.",
    {"type": "string", "pattern": whole(REQUEST_ID.pattern)},
    REQUEST_ID_EXAMPLE,
)
RETRY_AFTER = header(
    "Retry-After",
    "Seconds to wait before the next attempt.",
    {"type": "integer", "minimum": 1},
    RETRY_AFTER_SECONDS,
    409,
    429,
    503,
)
HEADERS = (REQUEST_ID_HEADER, RETRY_AFTER)

# Not there where the limit is switched off.
RATE_LIMITS = (
    header(
        "RateLimit-Policy",
        "The limit's name, how many calls (`q`) it allows and in how many seconds (`w`).",
        {"type": "string", "pattern": r'^"[a-z]+";q=\d+;w=\d+$'},
        '"anonymous";q=120;w=60',
        required=False,
    ),
    header(
        "RateLimit",
        "How many calls are left (`r`), and in how many seconds there is one more (`t`).",
        {"type": "string", "pattern": r'^"[a-z]+";r=\d+;t=\d+$'},
        '"anonymous";r=119;t=1',
        required=False,
    ),
)
X_CACHE = header(
    "X-Cache",
    "`hit` from the cache; `miss` made now; `stale` from the cache, past its time but not past a write (or older, "
    "while the database is away); `bypass` made now, and not kept.",
    {"type": "string", "enum": ["hit", "miss", "stale", "bypass"]},
    "hit",
    200,
    304,
)


def etag(*statuses: int) -> OpenApiParameter:
    tag = {"type": "string", "pattern": '^(W/)?"[0-9a-f]{32}"$'}
    text = "Changes with the document; the weak form comes with a compressed body."
    return header("ETag", text, tag, TAG, *statuses)


def cache_control(value: str, *statuses: int) -> OpenApiParameter:
    text = "How long, and by whom, the answer may be kept."
    return header("Cache-Control", text, {"type": "string", "const": value}, value, *statuses)


def vary(*statuses: int) -> OpenApiParameter:
    text = "What of the request the answer depends on."
    return header("Vary", text, {"type": "string", "const": "Accept-Encoding"}, "Accept-Encoding", *statuses)


TAG = '"9f86d081884c7d659a2feaa0c55ad015"'
ENTITY_TAGS = {"type": "string", "format": "entity-tags", "pattern": whole(rf"[ \t]*\*[ \t]*|{TAGS.pattern}")}
IF_MATCH = parameter(
    "If-Match",
    "Entity tags, or `*`. The answer is a 412 unless the resource has one of them; a weak tag never matches.",
    ENTITY_TAGS,
    TAG,
    OpenApiParameter.HEADER,
)
IF_NONE_MATCH = parameter(
    "If-None-Match",
    "Entity tags that the client has: where one of them is still the one, the answer is a 304.",
    {"type": "string"},
    TAG,
    OpenApiParameter.HEADER,
)
IF_NONE_MATCH_TO_WRITE = parameter(
    "If-None-Match",
    "Entity tags, or `*`. The answer is a 412 if the resource has one of them.",
    ENTITY_TAGS,
    '"b1946ac92492d2347c6235b4d2611184"',
    OpenApiParameter.HEADER,
)
