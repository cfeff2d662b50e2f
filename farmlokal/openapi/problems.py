"""Problem documents in the OpenAPI document: their schema, and the responses of each operation."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from farmlokal.http.conditional import IF_MATCH_FAILED
from farmlokal.http.exception_handlers import INVALID_HOST, problem_of
from farmlokal.http.problem_types import PROBLEM_TYPES
from farmlokal.http.problems import (
    CONTENT_TYPE,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
    URI_TOO_LONG,
    Problem,
    body_too_large,
    problem_document,
)
from farmlokal.observability.logs import REQUEST_ID
from farmlokal.openapi.parameters import REQUEST_ID_EXAMPLE, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rest_framework.exceptions import APIException

    from farmlokal.openapi.parameters import JSON


def hidden_rule(member: str, rule: JSON) -> JSON:
    """A rule for objects that have this member. Code generators ignore it; oneOf or allOf would add types or fail."""
    return {"dependentSchemas": {member: rule}}


PROBLEM_ERROR: JSON = {
    "type": "object",
    "description": "Names one of `parameter`, `header` and `pointer`.",
    "properties": {
        "parameter": {"type": "string", "description": "The wrong query parameter."},
        "header": {"type": "string", "description": "The wrong request header."},
        "pointer": {"type": "string", "description": "The wrong place in the body, as a JSON Pointer (RFC 6901)."},
        "detail": {"type": "string"},
        "allowed": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "The values that are valid.",
        },
    },
    "additionalProperties": False,
    "required": ["detail"],
    **hidden_rule("detail", {"oneOf": [{"required": [place]} for place in ("parameter", "header", "pointer")]}),
}
PROBLEM: JSON = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "enum": [f"urn:farmlokal:problem:{c}" for c in PROBLEM_TYPES],
        },
        "title": {"type": "string", "description": "The kind of error, for people."},
        "status": {"type": "integer", "enum": sorted({each.status for each in PROBLEM_TYPES.values()})},
        "detail": {"type": "string", "description": "This error, for people."},
        "instance": {"type": "string", "format": "uri-reference", "description": "The path of the request."},
        "code": {"type": "string", "enum": list(PROBLEM_TYPES), "description": "The kind of error, for programs."},
        "request_id": {"type": "string", "pattern": whole(REQUEST_ID.pattern)},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemError"}, "minItems": 1},
    },
    "additionalProperties": False,
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
}
PROBLEM_SCHEMAS = {"Problem": PROBLEM, "ProblemError": PROBLEM_ERROR}


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


BAD_HOST = Problem("bad-request", INVALID_HOST)
BROKEN = Problem("internal-error", INTERNAL_ERROR)
NOT_MATCHED = Problem("precondition-failed", IF_MATCH_FAILED)
RATE_LIMITED = Problem("rate-limited", "At most 120 calls in 60 s; try again in 1 s.")
# Of every operation that needs the database.
ANYWHERE = (
    BAD_HOST,
    Problem("payload-too-large", body_too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)),
    Problem("uri-too-long", URI_TOO_LONG),
    BROKEN,
    Problem("database-unavailable", DATABASE_UNAVAILABLE),
)
