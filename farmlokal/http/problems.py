"""Failures as RFC 9457 application/problem+json: the exception, the document and the response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path
from rest_framework.exceptions import APIException
from rest_framework.status import HTTP_503_SERVICE_UNAVAILABLE

from farmlokal.http.problem_types import PROBLEM_TYPES

CONTENT_TYPE = "application/problem+json"
MAX_REQUEST_LINE_BYTES = 16 * 1024
MAX_NAME_LENGTH = 100  # of a parameter's name in an error
MAX_PATH_LENGTH = 1000
RETRY_AFTER_SECONDS = 5

URI_TOO_LONG = f"The request line may have at most {MAX_REQUEST_LINE_BYTES} bytes."
DATABASE_UNAVAILABLE = "The database did not answer. Try again shortly."
INTERNAL_ERROR = "The failure has been logged under this request_id."


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
