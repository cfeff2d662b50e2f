"""Every failure leaves as RFC 9457 application/problem+json: DRF's, Django's and our own alike.

A Problem is raised where a rule is broken and converted here, once. What is unexpected is
logged with its traceback and answered as internal-error: nothing internal leaks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import structlog
from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from django.utils.encoding import escape_uri_path
from rest_framework import exceptions, status

from farmlokal.mysql.driver import ConnectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.http import HttpRequest, HttpResponseBase

CONTENT_TYPE = "application/problem+json"
MAX_REQUEST_LINE_BYTES = 16 * 1024
URI_TOO_LONG = f"The request line may have at most {MAX_REQUEST_LINE_BYTES} bytes."
REFUSAL = "farmlokal.refusal"
RETRY_AFTER_SECONDS = 5

# MySQL and MariaDB, by number: no connection (or a broken, refused or full one), shutting down, not ready, out of
# space, interrupted; and out of time, or of luck. What else the driver calls operational, such as a missing column, is
# ours to mend.
DATABASE_AWAY = {0, 1021, 1030, 1040, 1042, 1044, 1045, 1047, 1053, 1114, 1129, 1130, 1203, 1206, 1226, 1290, 1317}
DATABASE_AWAY |= {1836, 1927, 2002, 2003, 2005, 2006, 2012, 2013, 2026, 2055, 3032, 4031}
STATEMENT_ENDED = {1205, 1213, 1969, 3024}

logger = structlog.get_logger(__name__)


def body_too_large(most: int) -> str:
    return f"The body may have at most {most} bytes."


class Kind(NamedTuple):
    status: int
    title: str


KINDS = {
    "invalid-parameter": Kind(400, "A parameter is not valid"),
    "cursor-invalid": Kind(400, "The cursor is not valid"),
    "bad-request": Kind(400, "The request is malformed"),
    "not-authenticated": Kind(401, "Credentials are missing or wrong"),
    "signature-invalid": Kind(401, "The signature is missing or wrong"),
    "permission-denied": Kind(403, "Not allowed"),
    "not-found": Kind(404, "Not found"),
    "method-not-allowed": Kind(405, "The method is not allowed here"),
    "idempotency-conflict": Kind(409, "The first request with this key is still running"),
    "webhook-in-progress": Kind(409, "The event is being processed right now"),
    "precondition-failed": Kind(412, "A precondition of the request failed"),
    "payload-too-large": Kind(413, "The body is too large"),
    "uri-too-long": Kind(414, "The URI is too long"),
    "unsupported-media-type": Kind(415, "The media type is not supported"),
    "idempotency-mismatch": Kind(422, "The key belongs to another request"),
    "rate-limited": Kind(429, "Too many requests"),
    "internal-error": Kind(500, "Something went wrong on our side"),
    "partner-rejected": Kind(502, "The partner refuses"),
    "database-unavailable": Kind(503, "The database is not available"),
    "auth-unavailable": Kind(503, "Tokens cannot be checked"),
    "partner-unavailable": Kind(503, "The partner is not available"),
    "partner-timeout": Kind(504, "The partner is too slow"),
}
_CODES_OF_DRF: dict[type[exceptions.APIException], str] = {
    exceptions.ParseError: "bad-request",
    exceptions.AuthenticationFailed: "not-authenticated",
    exceptions.NotAuthenticated: "not-authenticated",
    exceptions.PermissionDenied: "permission-denied",
    exceptions.NotFound: "not-found",
    exceptions.MethodNotAllowed: "method-not-allowed",
    exceptions.UnsupportedMediaType: "unsupported-media-type",
}


class Problem(exceptions.APIException):
    """A failure that the caller is told about.

    errors: [{"parameter" | "header" | "pointer": name, "detail": text, "allowed"?: list}]
    headers: what the answer carries besides, such as Retry-After
    """

    def __init__(
        self, code: str, detail: str, errors: Sequence[Mapping[str, Any]] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, code)
        self.code = code
        self.status_code = KINDS[code].status
        self.errors = errors
        self.headers = headers or {}


class InvalidHeader(Problem):
    """A request header that cannot be read."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__("bad-request", f"{name}: {detail}", [{"header": name, "detail": detail}])


class InvalidParameter(Problem):
    """A query parameter that is unknown, repeated or has a bad value; allowed says what would do."""

    def __init__(self, name: str, detail: str, allowed: Sequence[str] = (), code: str = "invalid-parameter") -> None:
        name = name[:100]
        error: dict[str, Any] = {"parameter": name, "detail": detail}
        if allowed:
            error["allowed"] = list(allowed)
        super().__init__(code, f"{name}: {detail}", [error])


def problem_document(
    code: str, detail: str, instance: str, request_id: str, errors: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    kind = KINDS[code]
    document = {
        "type": f"urn:farmlokal:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
    }
    return document | {"errors": errors} if errors else document


def problem_response(
    request: HttpRequest, code: str, detail: str, errors: Sequence[Mapping[str, Any]] = ()
) -> HttpResponse:
    kind = KINDS[code]
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    document = problem_document(code, detail, escape_uri_path(request.path[:1000]), request_id, errors)
    response = HttpResponse(orjson.dumps(document), status=kind.status, content_type=CONTENT_TYPE)
    response["Content-Length"] = str(len(response.content))
    response["Cache-Control"] = "no-store"
    if kind.status == status.HTTP_503_SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def is_database_away(error: BaseException | None) -> bool:
    return _number_of(error) in DATABASE_AWAY or isinstance(getattr(error, "__cause__", None), ConnectError)


def is_passing(error: BaseException | None) -> bool:
    """Whether it is the database's, and another attempt may fare better: it is away, or was too slow, or busy."""
    return is_database_away(error) or was_ended(error)


def was_ended(error: BaseException | None) -> bool:
    """Whether a statement took too long, most often for somebody else's lock, or lost a deadlock."""
    return _number_of(error) in STATEMENT_ENDED


def _number_of(error: BaseException | None) -> Any:
    return error.args[0] if isinstance(error, OperationalError | InterfaceError) and error.args else None


def _unexpected(request: HttpRequest, error: BaseException | None) -> HttpResponse:
    if is_passing(error):
        logger.error("database_unavailable", error=str(error))
        return problem_response(request, "database-unavailable", "The database did not answer; try again shortly.")
    logger.error("internal_error", exc_info=error)
    return problem_response(request, "internal-error", "The failure has been logged under this request_id.")


def handle_exception(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER."""
    request: HttpRequest = context["request"]._request
    if isinstance(error, Problem):
        response = problem_response(request, error.code, str(error.detail), error.errors)
        for name, value in error.headers.items():
            response[name] = value
        return response
    if isinstance(error, Http404):
        return not_found(request, error)
    if isinstance(error, PermissionDenied):
        return permission_denied(request, error)
    if isinstance(error, SuspiciousOperation | BadRequest):
        return bad_request(request, error)
    for kind, code in _CODES_OF_DRF.items():
        if isinstance(error, kind):
            response = problem_response(request, code, str(error.detail))
            if challenge := getattr(error, "auth_header", None):
                response["WWW-Authenticate"] = challenge
            return response
    return _unexpected(request, error)


# Django's own handlers, named in urls.py and settings.py; they also answer for the admin.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    # Django's own texts speak to the operator.
    subject = "Its Host header" if isinstance(exception, DisallowedHost) else "It"
    return problem_response(request, "bad-request", f"{subject} is not one that this service accepts.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, "permission-denied", "You may not do this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return problem_response(request, "permission-denied", reason)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, "not-found", f"There is nothing at {request.path[:200]}.")


def server_error(request: HttpRequest) -> HttpResponse:
    return _unexpected(request, sys.exception())


class ProblemMiddleware:
    """Answers for asgi.py, which puts a problem's code and detail into the scope of what it refuses, and gives a
    document to the 405s that Django and WhiteNoise leave without one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if refusal := request.META.get("asgi.scope", {}).get(REFUSAL):
            return problem_response(request, *refusal)
        response = self.get_response(request)
        if response.status_code != status.HTTP_405_METHOD_NOT_ALLOWED or response.get("Content-Type") == CONTENT_TYPE:
            return response
        problem = problem_response(request, "method-not-allowed", f'Method "{request.method}" not allowed.')
        problem["Allow"] = response["Allow"]
        return problem
