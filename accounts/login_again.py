"""The admin site's way through the login for forms that arrive after their session has ended."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import update_wrapper
from http import HTTPStatus
from typing import Any, TypeVar, cast

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts import expired_forms
from accounts.expired_forms import ExpiredForm
from farmlokal.http import exception_handlers

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

SESSION_HAS_ENDED = "Your session has ended. Log in to go on."
FORM_IS_KEPT = "What you typed is kept, apart from passwords and files."


class LoginAgainSite(AdminSite):
    login_template = "admin/staff_login.html"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        packed = request.POST.get(expired_forms.NAME, "")
        form = expired_forms.unpacked(packed)
        context = {expired_forms.NAME: packed if form else ""} | (extra_context or {})
        response = super().login(request, context)
        is_login = request.method == "POST" and response.status_code == HTTPStatus.FOUND
        return self._offer_to_send(request, form) if form and is_login else response

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Django's admin_view(), which redirects to the login, but a form that is sent without a session is kept."""
        checked = super().admin_view(view, cacheable)

        def with_login(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method == "POST" and not self.has_permission(request):
                form = expired_forms.form_in(request)
                if form and form.fields:
                    return self._ask_to_log_in(request, form)
            return checked(request, *args, **kwargs)

        return cast("View", update_wrapper(with_login, checked))

    def answer_expired_form(self, request: HttpRequest, form: ExpiredForm) -> HttpResponse:
        """For a form with an old CSRF token. It may be the login form itself, which may carry another form."""
        is_login = request.path == reverse("admin:login")
        kept = expired_forms.unpacked(request.POST.get(expired_forms.NAME, "")) if is_login else form
        if self.has_permission(request) and kept:
            return self._offer_to_send(request, kept)
        return self._ask_to_log_in(request, kept)

    def _ask_to_log_in(self, request: HttpRequest, form: ExpiredForm | None) -> HttpResponse:
        """The login page, in answer to a POST that was no login."""
        context = {"notice": SESSION_HAS_ENDED, "app_path": reverse("admin:login")}
        if form:
            context["next"] = form.path
        if form and form.fields:
            context |= {"notice": f"{SESSION_HAS_ENDED} {FORM_IS_KEPT}", expired_forms.NAME: form.packed()}
        page = copy(request)
        page.method = "GET"
        response = self.login(page, context)
        if response.status_code == HTTPStatus.OK:
            response.status_code = HTTPStatus.FORBIDDEN
        return response

    def _offer_to_send(self, request: HttpRequest, form: ExpiredForm) -> HttpResponse:
        context = {**self.each_context(request), "title": "Send the form again?", expired_forms.NAME: form}
        return TemplateResponse(request, "admin/send_again.html", context)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A login ends the CSRF tokens of all pages that are open in other tabs, and browsers may drop the cookie."""
    if form := expired_forms.form_in(request):
        return cast("LoginAgainSite", admin.site).answer_expired_form(request, form)
    return exception_handlers.csrf_failure(request, reason)
