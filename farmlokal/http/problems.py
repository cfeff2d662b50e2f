"""Failures as RFC 9457 application/problem+json: the kinds, the exception, the document and the response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path
from rest_framework.exceptions import APIException
from rest_framework.status import HTTP_503_SERVICE_UNAVAILABLE

CONTENT_TYPE = "application/problem+json"
MAX_REQUEST_LINE_BYTES = 16 * 1024
MAX_NAME_LENGTH = 100  # of a parameter's name in an error
MAX_PATH_LENGTH = 1000
RETRY_AFTER_SECONDS = 5

URI_TOO_LONG = f"The request line may have at most {MAX_REQUEST_LINE_BYTES} bytes."
DATABASE_UNAVAILABLE = "The database did not answer. Try again shortly."
INTERNAL_ERROR = "The failure has been logged under this request_id."


class ProblemType(NamedTuple):
    status: int
    title: str


PROBLEM_TYPES = {
    "invalid-parameter": ProblemType(400, "A parameter is not valid"),
    "cursor-invalid": ProblemType(400, "The cursor is not valid"),
    "bad-request": ProblemType(400, "The request is malformed"),
    "not-authenticated": ProblemType(401, "Credentials are missing or wrong"),
    "signature-invalid": ProblemType(401, "The signature is missing or wrong"),
    "permission-denied": ProblemType(403, "Not allowed"),
    "not-found": ProblemType(404, "Not found"),
    "method-not-allowed": ProblemType(405, "The method is not allowed here"),
    "idempotency-conflict": ProblemType(409, "The first request with this key is still running"),
    "webhook-in-progress": ProblemType(409, "The event is being processed right now"),
    "precondition-failed": ProblemType(412, "A precondition of the request failed"),
    "payload-too-large": ProblemType(413, "The body is too large"),
    "uri-too-long": ProblemType(414, "The URI is too long"),
    "unsupported-media-type": ProblemType(415, "The media type is not supported"),
    "idempotency-mismatch": ProblemType(422, "The key belongs to another request"),
    "rate-limited": ProblemType(429, "Too many requests"),
    "internal-error": ProblemType(500, "Something went wrong on our side"),
    "partner-rejected": ProblemType(502, "The partner rejected the request"),
    "database-unavailable": ProblemType(503, "The database is not available"),
    "auth-unavailable": ProblemType(503, "Tokens cannot be checked"),
    "partner-unavailable": ProblemType(503, "The partner is not available"),
    "partner-timeout": ProblemType(504, "The partner did not answer in time"),
}


def body_too_large(max_bytes: int) -> str:
    return f"The body may have at most {max_bytes} bytes."


class Problem(APIException):
    """A failure that the client can read about.

    errors: [{"parameter" | "header" | "pointer": name, "detail": text, "allowed"?: list}]
    headers: further headers of the response
    retry_after: seconds, for the header Retry-After; rounded up, 1 at least
    """

    def __init__(
        self,
        code: str,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.code = code
        self.status_code = PROBLEM_TYPES[code].status
        self.errors = errors
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(math.ceil(retry_after), 1))


class InvalidParameter(Problem):
    """A query parameter that is unknown, repeated or has a bad value. allowed: the values that would be valid."""

    def __init__(self, name: str, detail: str, allowed: Sequence[str] = (), code: str = "invalid-parameter") -> None:
        name = name[:MAX_NAME_LENGTH]
        error: dict[str, Any] = {"parameter": name, "detail": detail}
        if allowed:
            error["allowed"] = list(allowed)
        super().__init__(code, f"{name}: {detail}", [error])


class InvalidHeader(Problem):
    """A malformed request header."""

    def __init__(self, name: str, detail: str, code: str = "bad-request") -> None:
        super().__init__(code, f"{name}: {detail}", [{"header": name, "detail": detail}])


class InvalidBody(Problem):
    """One or more bad members of a body: [{"pointer", "detail", "allowed"?}]."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        first = errors[0]
        super().__init__("invalid-parameter", f"{first['pointer'] or 'The body'}: {first['detail']}", errors)


def problem_document(
    code: str, detail: str, instance: str, request_id: str, errors: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The members of RFC 9457, then our own: code, request_id, errors."""
    problem_type = PROBLEM_TYPES[code]
    document = {
        "type": f"urn:farmlokal:problem:{code}",
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
    }
    return document | {"errors": errors} if errors else document


def problem_response(
    request: HttpRequest, code: str, detail: str, errors: Sequence[Mapping[str, Any]] = ()
) -> HttpResponse:
    status = PROBLEM_TYPES[code].status
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    document = problem_document(code, detail, escape_uri_path(request.path[:MAX_PATH_LENGTH]), request_id, errors)
    response = HttpResponse(orjson.dumps(document), status=status, content_type=CONTENT_TYPE)
    response["Content-Length"] = str(len(response.content))
    response["Cache-Control"] = "no-store"
    if status == HTTP_503_SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
