"""Errors of the admin as HTML pages with a way on. Scripts still get the problem document."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string

from farmlokal import routes
from farmlokal.http.middleware import SAFE_METHODS
from farmlokal.http.problems import CONTENT_TYPE
from farmlokal.routes import Pool

HTML = "text/html"
ADVICE = {
    HTTPStatus.FORBIDDEN: "A superuser can give you a role that includes it.",
    HTTPStatus.NOT_FOUND: "The address may be wrong, or what it showed has been deleted.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Tell your administrator the number of the request below.",
}
UNSURE = "If you were saving, check whether your change was saved before you try again."


def is_staff_page(request: HttpRequest) -> bool:
    """Whether a browser asks for a page of the admin. A script, or curl, does not prefer HTML."""
    is_admin = routes.find(request.path).pool is Pool.ADMIN
    return is_admin and request.get_preferred_type([CONTENT_TYPE, HTML]) == HTML


class StaffErrorMiddleware:
    """Replaces each problem document, whether the edge, the middleware or a view made it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not isinstance(response, HttpResponse):  # a stream, which is no problem document
            return response
        if response.get("Content-Type") == CONTENT_TYPE and is_staff_page(request):
            context = _context(request, orjson.loads(response.content))
            response.content = render_to_string("admin/error.html", context)  # needs no database
            response["Content-Type"] = f"{HTML}; charset=utf-8"
            response["Content-Length"] = str(len(response.content))
        return response


def _context(request: HttpRequest, problem: dict[str, Any]) -> dict[str, Any]:
    status, is_read = problem["status"], request.method in SAFE_METHODS
    return {
        "site_title": admin.site.site_title,
        "site_header": admin.site.site_header,
        "title": problem["title"],
        "detail": problem["detail"],
        "advice": UNSURE if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_read else ADVICE.get(status, ""),
        "request_id": problem["request_id"],
        "back": _page_before(request),
        "again": request.get_full_path() if status == HTTPStatus.SERVICE_UNAVAILABLE and is_read else "",
        "has_session": settings.SESSION_COOKIE_NAME in request.COOKIES,
    }


def _page_before(request: HttpRequest) -> str:
    """The path of the page that linked here, or "". Never of another host."""
    before = urlsplit(request.headers.get("Referer", ""))
    address = before._replace(scheme="", netloc="").geturl()
    is_ours = before.netloc == request.META.get("HTTP_HOST") and routes.find(before.path).pool is Pool.ADMIN
    return address if is_ours and address != request.get_full_path() else ""
