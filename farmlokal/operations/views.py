"""The operations page of the admin, its data, and the buttons of the breakers."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from farmlokal.operations.breakers import ACTIONS, force
from farmlokal.operations.charts import CHARTS
from farmlokal.operations.documents import document
from farmlokal.traffic.series import STEPS
from integrations.breaker.breaker import NotSharedError
from integrations.partner.client import BREAKERS

VIEW, FORCE = "farmlokal.view_operations", "farmlokal.force_breaker"


@require_safe
@permission_required(VIEW, raise_exception=True)
def page(request: HttpRequest) -> HttpResponse:
    context = {
        "title": "Operations",
        "charts": {name: chart for name, chart in CHARTS.items() if settings.METRICS},
        "breakers": BREAKERS if request.user.has_perm(FORCE) else [],
        "actions": ACTIONS,
    }
    return TemplateResponse(request, "admin/operations.html", admin.site.each_context(request) | context)


@require_safe
@permission_required(VIEW, raise_exception=True)
def data(request: HttpRequest) -> HttpResponse:
    hours = request.GET.get("hours", "1")
    if hours not in map(str, STEPS):
        raise BadRequest(f"hours must be one of {', '.join(map(str, STEPS))}.")
    return JsonResponse(document(int(hours)))


@require_http_methods(["GET", "POST"])
@permission_required([VIEW, FORCE], raise_exception=True)
def breaker(request: HttpRequest, name: str, action: str) -> HttpResponse:
    """GET asks for confirmation."""
    found = next((breaker for breaker in BREAKERS if breaker.name == name), None)
    if found is None or action not in ACTIONS:
        raise Http404
    if request.method == "GET":
        context = {"title": f"{ACTIONS[action].label}: breaker of {name}", "breaker": found, "action": ACTIONS[action]}
        return TemplateResponse(request, "admin/operations_breaker.html", admin.site.each_context(request) | context)
    try:
        messages.success(request, force(found, action, request.user))
    except NotSharedError as error:
        messages.error(request, f"Nothing has changed: {error}.")
    return HttpResponseRedirect(reverse("operations"))
