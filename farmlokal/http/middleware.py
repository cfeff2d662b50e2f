"""Django's middleware, skipped where it would do harm.

Public reads neither read nor set cookies, so shared caches may store them. Health checks may use any Host.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.middleware import common, csrf

from farmlokal import routes
from farmlokal.routes import Pool

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


def is_without_cookies(request: HttpRequest) -> bool:
    return request.method in SAFE_METHODS and routes.find(request.path).pool is not Pool.ADMIN


class _CookieMiddleware:
    """For the admin and for writes of a staff session."""

    def __call__(self: Any, request: HttpRequest) -> Any:
        if is_without_cookies(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]  # of the other base class


class SessionMiddleware(_CookieMiddleware, sessions.SessionMiddleware):
    pass


class CsrfViewMiddleware(_CookieMiddleware, csrf.CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, *args: Any) -> Any:
        return None if is_without_cookies(request) else super().process_view(request, *args)


class AuthenticationMiddleware(_CookieMiddleware, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(_CookieMiddleware, messages.MessageMiddleware):
    pass


class CommonMiddleware(common.CommonMiddleware):
    def process_request(self, request: HttpRequest) -> Any:
        return None if routes.find(request.path).is_probe else super().process_request(request)  # it checks the Host
