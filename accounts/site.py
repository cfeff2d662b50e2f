"""The admin site, whose login takes five attempts a minute for one name from one address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django_ratelimit.core import get_usage
from redis import RedisError

from farmlokal.ratelimit import Policy, buckets, client_of_request

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

ATTEMPTS = Policy("login", 5, 60)
EXHAUSTED = "exhausted"


def seconds_to_wait(request: HttpRequest, name: str) -> int:
    """0 where the attempt is one of those allowed; all of them count."""
    who = f"{client_of_request(request)} {name.casefold()}"
    try:
        usage = get_usage(
            request,
            group="admin-login",
            key=lambda *_: who,
            rate=f"{ATTEMPTS.quota}/{ATTEMPTS.window}s",
            increment=True,
        )
    except RedisError:  # without Redis, each process counts by itself
        decision = buckets.decide(f"{ATTEMPTS.name}:{who}", ATTEMPTS)
        return decision.retry_after if decision.is_refused else 0
    return max(usage["time_left"], 1) if usage and usage["should_limit"] else 0


class LoginForm(AdminAuthenticationForm):
    def clean(self) -> dict[str, Any]:
        """The password is not looked at where there have been too many attempts."""
        seconds = seconds_to_wait(self.request, self.cleaned_data.get("username", "")) if self.request else 0
        if self.request and seconds:
            self.request.META[EXHAUSTED] = seconds
            raise ValidationError(f"Too many attempts for this name. Try again in {seconds} seconds.", code=EXHAUSTED)
        return super().clean()


class StaffSite(AdminSite):
    site_header = site_title = "FarmLokal"
    index_title = "Catalogue"
    site_url = "/products"
    login_form = LoginForm

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().login(request, extra_context)
        if seconds := request.META.get(EXHAUSTED):
            response.status_code = 429
            response["Retry-After"] = str(seconds)
        return response
