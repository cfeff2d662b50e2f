"""Failures in the descriptions of calls: what each can be refused with, from the table of farmlokal.http.problems."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from farmlokal.http.conditional import IF_MATCH_FAILED
from farmlokal.http.exception_handlers import INVALID_HOST
from farmlokal.http.problem_types import PROBLEM_TYPES
from farmlokal.http.problems import (
    CONTENT_TYPE,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
    URI_TOO_LONG,
    body_too_large,
    problem_document,
)
from farmlokal.observability.logs import REQUEST_ID
from farmlokal.openapi.building import REQUEST_ID_EXAMPLE, closed, component, unseen, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Responses: TypeAlias = "dict[int | tuple[int, str], OpenApiResponse]"

PROBLEM_ERROR = component(
    "ProblemError",
    closed(
        {
            "parameter": {"type": "string", "description": "The query parameter that is wrong."},
            "header": {"type": "string", "description": "The request header that is wrong."},
            "pointer": {"type": "string", "description": "What is wrong in the body, as a JSON Pointer (RFC 6901)."},
            "detail": {"type": "string"},
            "allowed": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "What would do."},
        },
        optional=["parameter", "header", "pointer", "allowed"],
        description="Names one of `parameter`, `header` and `pointer`.",
        **unseen(
            "detail", {"oneOf": [{"required": ["parameter"]}, {"required": ["header"]}, {"required": ["pointer"]}]}
        ),
    ),
)
PROBLEM = component(
    "Problem",
    closed(
        {
            "type": {
                "type": "string",
                "format": "uri",
                "enum": [f"urn:farmlokal:problem:{code}" for code in PROBLEM_TYPES],
            },
            "title": {"type": "string", "description": "What kind of failure it is, for people."},
            "status": {"type": "integer", "enum": sorted({each.status for each in PROBLEM_TYPES.values()})},
            "detail": {"type": "string", "description": "What is wrong this time, for people."},
            "instance": {"type": "string", "format": "uri-reference", "description": "The path that was asked for."},
            "code": {"type": "string", "enum": list(PROBLEM_TYPES), "description": "What is wrong, for programs."},
            "request_id": {"type": "string", "pattern": whole(REQUEST_ID.pattern)},
            "errors": {"type": "array", "items": PROBLEM_ERROR, "minItems": 1},
        },
        optional=["errors"],
        description="What every failure says (RFC 9457).",
    ),
)


class Refusal(NamedTuple):
    """A failure as an example: what problem_document() takes."""

    code: str
    detail: str
    errors: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, code: str, place: str, name: str, detail: str, **more: Any) -> Refusal:
        """For one wrong parameter, header or pointer."""
        return cls(code, f"{name}: {detail}", [{place: name, "detail": detail, **more}])


def refusals(instance: str, *examples: Refusal) -> Responses:
    """The responses with these problems, by their statuses."""

    def status(refusal: Refusal) -> int:
        return PROBLEM_TYPES[refusal.code].status

    by_status = groupby(sorted(examples, key=status), status)
    return {(number, CONTENT_TYPE): _refused(instance, list(group)) for number, group in by_status}


def _refused(instance: str, refused: Sequence[Refusal]) -> OpenApiResponse:
    """With the first example of each code."""
    examples = {refusal.code: refusal for refusal in reversed(refused)}
    (status,) = {PROBLEM_TYPES[code].status for code in examples}
    titles = [PROBLEM_TYPES[code].title for code in examples]
    narrowed = {"status": {"const": status}, "title": {"enum": titles}, "code": {"enum": list(examples)}}
    return OpenApiResponse(
        PROBLEM | unseen("code", {"properties": narrowed}),
        ". ".join(PROBLEM_TYPES[code].title for code in examples) + ".",
        [
            OpenApiExample(
                code, summary=detail, value=problem_document(code, detail, instance, REQUEST_ID_EXAMPLE, errors)
            )
            for code, detail, errors in examples.values()
        ],
    )


# What any call may be refused with, before its view is asked.
BAD_HOST = Refusal("bad-request", INVALID_HOST)
BROKEN = Refusal("internal-error", INTERNAL_ERROR)
NOT_MATCHED = Refusal("precondition-failed", IF_MATCH_FAILED)
RATE_LIMITED = Refusal("rate-limited", "At most 120 calls in 60 s; try again in 1 s.")
DATABASE_AWAY = Refusal("database-unavailable", DATABASE_UNAVAILABLE)
ANYWHERE = (
    BAD_HOST,
    Refusal("payload-too-large", body_too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)),
    Refusal("uri-too-long", URI_TOO_LONG),
    BROKEN,
    DATABASE_AWAY,
)
