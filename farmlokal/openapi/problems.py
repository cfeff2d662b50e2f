"""Problem documents in the OpenAPI document: their schema, and the responses of each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import APIException

from farmlokal.http.conditional import check_if_match
from farmlokal.http.exception_handlers import INVALID_HOST, problem_of
from farmlokal.http.problems import (
    CONTENT_TYPE,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
    PROBLEM_TYPES,
    URI_TOO_LONG,
    Problem,
    body_too_large,
    problem_document,
)
from farmlokal.observability.logs import REQUEST_ID
from farmlokal.openapi.parameters import ETAG_EXAMPLE, JSON, REQUEST_ID_EXAMPLE, whole
from farmlokal.ratelimit.limiter import Decision, Policy


def hidden_rule(member: str, rule: JSON) -> JSON:
    """A rule for objects that have this member. Code generators ignore it; oneOf or allOf would add types or fail."""
    return {"dependentSchemas": {member: rule}}


@extend_schema_serializer(description="Names one of `parameter`, `header` and `pointer`.")
class ProblemErrorSerializer(serializers.Serializer[Any]):
    keywords: ClassVar[JSON] = hidden_rule(
        "detail", {"oneOf": [{"required": [place]} for place in ("parameter", "header", "pointer")]}
    )

    parameter = serializers.CharField(required=False, help_text="The wrong query parameter.")
    header = serializers.CharField(required=False, help_text="The wrong request header.")
    pointer = serializers.CharField(required=False, help_text="The wrong place in the body: a JSON Pointer (RFC 6901).")
    detail = serializers.CharField()
    allowed = serializers.ListField(
        child=serializers.CharField(), min_length=1, required=False, help_text="The values that are valid."
    )


class TypeField(serializers.ChoiceField):
    keywords: ClassVar[JSON] = {"format": "uri"}


class PathField(serializers.CharField):
    keywords: ClassVar[JSON] = {"format": "uri-reference"}


@extend_schema_serializer(description="An error (RFC 9457).")
class ProblemSerializer(serializers.Serializer[Any]):
    type = TypeField([f"urn:farmlokal:problem:{code}" for code in PROBLEM_TYPES])
    title = serializers.CharField(help_text="The kind of error, for people.")
    status = serializers.ChoiceField(sorted({each.status for each in PROBLEM_TYPES.values()}))
    detail = serializers.CharField(help_text="This error, for people.")
    instance = PathField(help_text="The path of the request.")
    code = serializers.ChoiceField(list(PROBLEM_TYPES), help_text="The kind of error, for programs.")
    request_id = serializers.RegexField(whole(REQUEST_ID.pattern))
    errors = serializers.ListField(  # type: ignore[assignment]  # replaces the serializer's property
        child=ProblemErrorSerializer(), min_length=1, required=False
    )


def problem_responses(instance: str, *errors: APIException) -> dict[Any, OpenApiResponse]:
    """The error responses of an operation, with these errors as examples. instance: its path."""

    def status(problem: Problem) -> int:
        return problem.status_code

    by_status = groupby(sorted(filter(None, map(problem_of, errors)), key=status), status)
    return {(number, CONTENT_TYPE): _response(number, instance, group) for number, group in by_status}


def _response(status: int, instance: str, problems: Iterable[Problem]) -> OpenApiResponse:
    """The first problem of each code is its example."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.code, problem)
    titles = [PROBLEM_TYPES[code].title for code in first]
    narrowed = {"status": {"const": status}, "title": {"enum": titles}, "code": {"enum": list(first)}}
    return OpenApiResponse(
        {"$ref": "#/components/schemas/Problem"} | hidden_rule("code", {"properties": narrowed}),
        "".join(f"{title}. " for title in titles).strip(),
        [_example(problem, instance) for problem in first.values()],
    )


def _example(problem: Problem, instance: str) -> OpenApiExample:
    detail = str(problem.detail)
    document = problem_document(problem.code, detail, instance, REQUEST_ID_EXAMPLE, problem.errors)
    return OpenApiExample(problem.code, summary=detail, value=document)


def raised_by(work: Callable[[], object]) -> Problem:
    """The problem that the code itself raises, as an example."""
    try:
        work()
    except Problem as problem:
        return problem
    raise AssertionError("raises no problem")


BAD_HOST = Problem("bad-request", INVALID_HOST)
BROKEN = Problem("internal-error", INTERNAL_ERROR)
NOT_MATCHED = raised_by(lambda: check_if_match(['"another"'], ETAG_EXAMPLE))
RATE_LIMITED = Problem("rate-limited", Decision(Policy("anonymous", 120, 60), -1, 1_000_000).detail)
# Of every operation that needs the database.
ANYWHERE = (
    BAD_HOST,
    Problem("payload-too-large", body_too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)),
    Problem("uri-too-long", URI_TOO_LONG),
    BROKEN,
    Problem("database-unavailable", DATABASE_UNAVAILABLE),
)
