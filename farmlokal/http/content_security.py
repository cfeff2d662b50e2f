"""The Content-Security-Policy of every HTML page. This is the only list of policies."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

HEADER = "Content-Security-Policy"
# Nothing inline, and nothing from other hosts.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The viewers use inline styles and data: images. Redoc's search runs in a worker from a blob: URL.
API_VIEWERS = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
OTHER_POLICIES = {"/docs": API_VIEWERS, "/redoc": API_VIEWERS}


class ContentSecurityPolicyMiddleware:
    """Django's debug pages, which have inline scripts, are exempt: DEBUG is off where the service is public."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_debug_page = settings.DEBUG and response.status_code >= HTTPStatus.BAD_REQUEST
        if response.get("Content-Type", "").startswith("text/html") and not is_debug_page:
            response.setdefault(HEADER, OTHER_POLICIES.get(request.path, STRICT))
        return response
