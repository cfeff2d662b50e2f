"""Answers reads from a page cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse

from farmlokal.http.representations import Representation, respond
from farmlokal.observability.metrics import count_page
from farmlokal.page_cache.cache import PageCache
from farmlokal.page_cache.keys import page_key
from farmlokal.page_cache.pages import Lifetime
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
    state = state_of(request)
    key = page_key(request.scheme or "", request.get_host(), request.path, query)
    lookup = state.lookup if state.lookup and state.lookup.page_key == key else None
    served = state.served = cache.get(key, make, lifetime, state.local_page, lookup)
    count_page(served.result)
    response = respond(request, served.page.representation, headers)
    response["X-Cache"] = served.result
    return response
