"""GET /: the front page, for people. GET /favicon.ico: the icon of pages that name none."""

from __future__ import annotations

import time
from threading import Lock

import structlog
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from farmlokal.health import readiness, return_connection
from products.facts import Facts, read_facts

FACTS_LIFETIME_SECONDS = 60
# Named in the page, so that browsers fetch them all at once and not each after the module that imports it.
MODULES = [f"farmlokal/home/{name}.js" for name in ("api", "details", "elements", "query", "request", "results")]
PLACES = range(12)  # cards of a page, as PAGE_SIZE in query.js
HEADERS = {"Cache-Control": "no-store"}  # it shows the state of this moment

logger = structlog.get_logger(__name__)


@csrf_exempt  # so that other methods get a 405
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """200 in every state: the page says what works."""
    document = readiness()
    checks, breakers = document["checks"], document["breakers"]
    context = {
        "status": document["status"],
        "parts": {"MySQL": checks["mysql"], "Redis": checks["redis"], "partner's breaker": breakers["partner"]},
        "facts": latest_facts.get(is_readable=checks["mysql"] != "down"),
        "products": request.build_absolute_uri("/products"),
        "modules": MODULES,
        "places": PLACES,
    }
    return HttpResponse(render_to_string("home.html", context, request), headers=HEADERS)


class LatestFacts:
    """The facts of the last minute. One thread at a time reads them; meanwhile the others show the older ones."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._facts: Facts | None = None
        self._expires_at = 0.0

    def get(self, *, is_readable: bool) -> Facts | None:
        """None while this process has never read them."""
        if is_readable and time.monotonic() >= self._expires_at and self._lock.acquire(blocking=False):
            try:
                self._facts = read_facts()
                self._expires_at = time.monotonic() + FACTS_LIFETIME_SECONDS
            except DatabaseError as error:
                logger.warning("facts_unavailable", error=str(error))
            finally:
                return_connection()
                self._lock.release()
        return self._facts

    def reset(self) -> None:
        self._facts, self._expires_at = None, 0.0


latest_facts = LatestFacts()


@csrf_exempt
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for this path beside the JSON of the API, which cannot name an icon."""
    return HttpResponseRedirect(static("farmlokal/favicon.svg"), headers={"Cache-Control": "public, max-age=86400"})
