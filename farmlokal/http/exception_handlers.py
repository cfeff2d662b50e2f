"""Turns every exception into a problem response: DRF's, Django's and our own.

Unexpected exceptions are logged with their traceback. Their response is internal-error and reveals nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from rest_framework import exceptions
from rest_framework.status import HTTP_405_METHOD_NOT_ALLOWED

from farmlokal.http.problems import CONTENT_TYPE, DATABASE_UNAVAILABLE, INTERNAL_ERROR, Problem, problem_response
from farmlokal.mysql.errors import is_transient
from farmlokal.request_state import state_of

INVALID_HOST = "The Host header names no host of this service."
INVALID_REQUEST = "The request is not valid."
DRF_CODES: dict[type[exceptions.APIException], str] = {
    exceptions.ParseError: "bad-request",
    exceptions.AuthenticationFailed: "not-authenticated",
    exceptions.NotAuthenticated: "not-authenticated",
    exceptions.PermissionDenied: "permission-denied",
    exceptions.NotFound: "not-found",
    exceptions.MethodNotAllowed: "method-not-allowed",
    exceptions.UnsupportedMediaType: "unsupported-media-type",
}

logger = structlog.get_logger(__name__)


def handle_exception(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER."""
    request: HttpRequest = context["request"]._request
    if problem := problem_of(error):
        response = problem_response(request, problem.code, str(problem.detail), problem.errors)
        for name, value in problem.headers.items():
            response[name] = value
        return response
    if isinstance(error, Http404):
        return not_found(request, error)
    if isinstance(error, PermissionDenied):
        return permission_denied(request, error)
    if isinstance(error, SuspiciousOperation | BadRequest):
        return bad_request(request, error)
    return _unexpected(request, error)


def problem_of(error: Exception) -> Problem | None:
    """A Problem as it is, DRF's exceptions converted, None for any other."""
    if isinstance(error, Problem):
        return error
    for drf_type, code in DRF_CODES.items():
        if isinstance(error, drf_type):
            challenge = getattr(error, "auth_header", None)
            return Problem(code, str(error.detail), headers={"WWW-Authenticate": challenge} if challenge else None)
    return None


def _unexpected(request: HttpRequest, error: BaseException | None) -> HttpResponse:
    if is_transient(error):
        logger.error("database_unavailable", error=str(error))
        return problem_response(request, "database-unavailable", DATABASE_UNAVAILABLE)
    logger.error("internal_error", exc_info=error)
    return problem_response(request, "internal-error", INTERNAL_ERROR)


# Django's own handlers, named in urls.py and settings.py. The admin uses them too.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Never with Django's own text, which is for the operator."""
    detail = INVALID_HOST if isinstance(exception, DisallowedHost) else INVALID_REQUEST
    return problem_response(request, "bad-request", detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, "permission-denied", "You may not do this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return problem_response(request, "permission-denied", reason)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, "not-found", nothing_at(request.path[:200]))


def nothing_at(path: str) -> str:
    return f"There is nothing at {path}."


def server_error(request: HttpRequest) -> HttpResponse:
    return _unexpected(request, sys.exception())


class ProblemMiddleware:
    """Adds the problem document where Django has none: for requests that the edge refused (see
    RequestState.refusal), and for the 405s of Django and WhiteNoise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if refusal := state_of(request).refusal:
            return problem_response(request, *refusal)
        response = self.get_response(request)
        if response.status_code != HTTP_405_METHOD_NOT_ALLOWED or response.get("Content-Type") == CONTENT_TYPE:
            return response
        problem = problem_response(request, "method-not-allowed", f'Method "{request.method}" not allowed.')
        problem["Allow"] = response["Allow"]
        return problem
