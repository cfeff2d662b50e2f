"""Answers reads from a page cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse

from farmlokal.http.representations import Representation, respond
from farmlokal.observability.metrics import count_page
from farmlokal.page_cache.cache import PageCache
from farmlokal.page_cache.pages import Lifetime
from farmlokal.redis.scripts import key
from farmlokal.request_state import state_of


def cached_response(
    cache: PageCache,
    request: HttpRequest,
    query: str,
    make: Callable[[], Representation],
    headers: Mapping[str, str],
    lifetime: Lifetime,
) -> HttpResponse:
    """The answer to a read. query: the normalised query, one spelling for all queries that mean the same."""
    address = request.build_absolute_uri(f"{request.path}?{query}")
    page_key = key("page", hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:32])
    state = state_of(request)
    served = state.served = cache.get(page_key, make, lifetime, state.local_page)
    count_page(served.result)
    response = respond(request, served.page.representation, headers)
    response["X-Cache"] = served.result
    return response
