"""Django's own middleware, each only where it has a job.

Cookies matter in the admin and for writes by a staff session. A public read neither sets a cookie nor looks at one, so
that shared caches may keep its answer. Probes ask by any Host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.middleware import common, csrf

if TYPE_CHECKING:
    from django.http import HttpRequest

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
ADMIN = "/admin/"
LIVENESS = "/livez"
PROBES = (LIVENESS, "/readyz", "/metrics")


def is_without_cookies(request: HttpRequest) -> bool:
    return request.method in SAFE_METHODS and not request.path.startswith(ADMIN)


class _WhereCookiesMatter:
    def __call__(self: Any, request: HttpRequest) -> Any:
        if is_without_cookies(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]  # of the class beside it


class SessionMiddleware(_WhereCookiesMatter, sessions.SessionMiddleware):
    pass


class CsrfViewMiddleware(_WhereCookiesMatter, csrf.CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, *args: Any) -> Any:
        return None if is_without_cookies(request) else super().process_view(request, *args)


class AuthenticationMiddleware(_WhereCookiesMatter, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(_WhereCookiesMatter, messages.MessageMiddleware):
    pass


class CommonMiddleware(common.CommonMiddleware):
    def process_request(self, request: HttpRequest) -> Any:
        return None if request.path in PROBES else super().process_request(request)  # it asks whether the Host is ours
