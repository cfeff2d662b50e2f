"""How drf-spectacular derives the document from serializers and views: named in settings.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_mock_request
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from farmlokal.http.problems import CONTENT_TYPE, PROBLEM_TYPES
from farmlokal.openapi.parameters import HEADERS, JSON, RATE_LIMITS
from farmlokal.openapi.problems import ProblemSerializer

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from rest_framework.views import APIView

ABOUT = f"""\
The catalogue of a marketplace for Indian farm produce.

Every error is `{CONTENT_TYPE}` (RFC 9457). Programs should use its `code`:

| status | code | meaning |
|---|---|---|
{"".join(f"| {each.status} | `{code}` | {each.title} |" + chr(10) for code, each in PROBLEM_TYPES.items())}
Unknown parameters, repeated single parameters and bad values are errors, which name the parameter. Methods other
than those below, `HEAD` and `OPTIONS` get a 405; its `Allow` lists the methods. `HEAD` answers like `GET`, without
the body. A request may set `X-Request-ID`, 1 to 128 of `A-Z a-z 0-9 . _ -`. Every response has one.
Lists are compressed on request (`Accept-Encoding: gzip`). A URL with a trailing slash is a 404.
"""


class AnyOf(serializers.Field[Any, Any, Any, Any]):
    """For documentation only: a value that fits at least one of these serializers."""

    def __init__(self, *alternatives: type[serializers.Serializer[Any]]) -> None:
        super().__init__()
        self.alternatives = alternatives


class AnyOfExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = AnyOf

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> JSON:
        return {"anyOf": [auto_schema.resolve_serializer(each, direction).ref for each in self.target.alternatives]}


class Schema(AutoSchema):
    """DRF's DEFAULT_SCHEMA_CLASS."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False

    def get_auth(self) -> list[JSON]:
        """Reads are open to clients without credentials."""
        requirements = [requirement for requirement in super().get_auth() if requirement]
        return [*requirements, {}] if requirements and self.method in SAFE_METHODS else requirements

    def get_override_parameters(self) -> list[Any]:
        """The headers of every response. Operations that authenticate clients also limit their rate."""
        return [*HEADERS, *(RATE_LIMITS if self.view.get_authenticators() else ())]

    def _get_response_bodies(self, direction: Any = "response") -> JSON:
        self.resolve_serializer(ProblemSerializer, direction)  # problem_responses() refers to it
        return super()._get_response_bodies(direction)

    def _get_request_body(self, direction: Any = "request") -> JSON | None:
        body: JSON | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body | {"required": True} if body else None

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> JSON:
        """Add the `keywords` of the serializer. Objects have no other members, unless it is open."""
        schema: JSON = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        schema |= {} if getattr(serializer, "is_open", False) else {"additionalProperties": False}
        return schema | getattr(serializer, "keywords", {})

    def _insert_field_validators(self, field: Any, schema: JSON) -> None:
        """Add the `keywords` of the field's class. A single choice is a constant."""
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]
        schema.pop("x-spec-enum-id", None)
        if len(schema.get("enum", ())) == 1:
            schema["const"] = schema.pop("enum")[0]
        schema.update(getattr(field, "keywords", {}))


def mock_request(method: str, path: str, view: APIView, original_request: Request | None, **options: Any) -> Request:
    """For views whose authenticators depend on the request."""
    http_request = HttpRequest()
    http_request.method = method
    view.request = Request(http_request)
    request: Request = build_mock_request(method, path, view, original_request, **options)  # type: ignore[no-untyped-call]
    return request


def complete(result: JSON, **_: Any) -> JSON:
    """A postprocessing hook: add the introduction."""
    result["info"]["description"] = ABOUT
    return result
