"""The admin site, and how many login attempts it takes.

Attempts are counted before the password is hashed, because a hash costs 0.4 s of CPU. There are three limits: for one
address, for one name from one address, and for one name from all addresses. The last one could lock staff out, so a
browser that has logged in before has a counter of its own (OWASP's "device cookies").

django-ratelimit has fixed windows: around the end of a window, twice as many attempts may pass.
"""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.crypto import get_random_string
from django_ratelimit.core import get_usage
from redis import RedisError

from accounts.login_again import LoginAgainSite
from accounts.models import login_name
from farmlokal.admin.dashboard import cards
from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.admin.navigation import sections
from farmlokal.ratelimit.client_identity import client_of_request
from farmlokal.ratelimit.limiter import Policy, buckets

PER_ADDRESS = Policy("login-address", 20, 60)
PER_NAME_AND_ADDRESS = Policy("login", 5, 60)
PER_NAME = Policy("login-name", 40, 300)  # more than one address can reach with five a minute
BROWSER_COOKIE = "known_browser"
BROWSER_COOKIE_SECONDS = 90 * 24 * 3600


def seconds_to_wait(request: HttpRequest, username: str) -> int:
    """0 if this attempt is allowed. An attempt that one limit refuses does not count for the next."""
    name, address = login_name(username), client_of_request(request)
    browser = request.get_signed_cookie(BROWSER_COOKIE, default="", salt=name, max_age=BROWSER_COOKIE_SECONDS)
    limits = [
        (PER_ADDRESS, address),
        (PER_NAME_AND_ADDRESS, f"{address} {name}"),
        (PER_NAME, f"{browser} {name}"),
    ]
    return next((seconds for policy, key in limits if (seconds := _count(request, policy, key))), 0)


def _count(request: HttpRequest, policy: Policy, key: str) -> int:
    """Counts one attempt; returns the seconds to wait, or 0."""
    try:
        usage = get_usage(
            request,
            group=policy.name,
            key=lambda *_: key,
            rate=f"{policy.quota}/{policy.window}s",
            increment=True,
        )
    except RedisError:  # without Redis, each process counts by itself
        decision = buckets.decide(f"{policy.name}:{key}", policy)
        return decision.retry_after if decision.is_refused else 0
    return max(usage["time_left"], 1) if usage and usage["should_limit"] else 0


class LoginForm(AdminAuthenticationForm):
    wait_seconds = 0  # after too many attempts

    def clean(self) -> dict[str, Any]:
        """Refuses the attempt before the password is hashed."""
        seconds = seconds_to_wait(self.request, self.cleaned_data.get("username", "")) if self.request else 0
        if self.request and seconds:
            self.wait_seconds = seconds
            raise ValidationError(f"Too many attempts. Try again in {seconds} seconds.")
        return super().clean()


class StaffSite(LoginAgainSite):
    site_header = site_title = "FarmLokal"
    index_title = "Overview"
    site_url = "/"
    login_form = LoginForm
    enable_nav_sidebar = False

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return super().each_context(request) | {"sections": sections(request)}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        options = cast("list[StaffAdmin]", list(self._registry.values()))
        context = {
            "cards": cards(self, request, sections(request)),
            "changes": [change for one in options for change in one.index_changes(request)],
        }
        return super().index(request, context | (extra_context or {}))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().login(request, extra_context)
        form = (getattr(response, "context_data", None) or {}).get("form")
        if seconds := getattr(form, "wait_seconds", 0):
            response.status_code = 429
            response["Retry-After"] = str(seconds)
        elif request.method == "POST" and form is None:  # the login succeeded
            _remember_browser(request, response)
        return response


def _remember_browser(request: HttpRequest, response: HttpResponse) -> None:
    response.set_signed_cookie(
        BROWSER_COOKIE,
        get_random_string(22),
        salt=login_name(request.user.get_username()),
        max_age=BROWSER_COOKIE_SECONDS,
        path=request.path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
