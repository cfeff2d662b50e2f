"""GET /: the front page, for people. GET /favicon.ico: the icon of pages that name none."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from farmlokal.health import readiness

HEADERS = {
    "Cache-Control": "no-store",  # it shows the state of this moment
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


@csrf_exempt  # so that other methods get a 405
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """200 in every state: the page says what works."""
    document = readiness()
    checks, breakers = document["checks"], document["breakers"]
    parts = {"MySQL": checks["mysql"], "Redis": checks["redis"], "partner's breaker": breakers["partner"]}
    context = {"status": document["status"], "parts": parts, "products": request.build_absolute_uri("/products")}
    return HttpResponse(render_to_string("home.html", context, request), headers=HEADERS)


@csrf_exempt
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for this path beside the JSON of the API, which cannot name an icon."""
    return HttpResponseRedirect(static("farmlokal/favicon.svg"), headers={"Cache-Control": "public, max-age=86400"})
