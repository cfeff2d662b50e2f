"""Finds the key of a request's cached page without Django, by the parsers of the views."""

from __future__ import annotations

from functools import lru_cache

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, QueryDict

from farmlokal.http.problems import Problem
from farmlokal.page_cache.keys import page_key
from products.page_queries import NORMALISED

MAX_ADDRESSES = 5_000
MAX_ADDRESS_BYTES = 2300  # Django answers requests with longer ones; they would fill the memory


@lru_cache(maxsize=MAX_ADDRESSES)
def page_key_of(route: str, scheme: str, host: bytes, path: str, query: bytes) -> str:
    """The key of the page, or "" if Django has to answer: no page is cached here, or Host or query is invalid."""
    normalised = NORMALISED.get(route)
    if normalised is None:
        return ""
    try:
        return page_key(scheme, _host_of(host), path, normalised(QueryDict(query)))
    except (Problem, SuspiciousOperation):
        return ""


def _host_of(header: bytes) -> str:
    """Raises DisallowedHost, as for any request of Django."""
    request = HttpRequest()
    request.META["HTTP_HOST"] = header.decode("latin1")
    return request.get_host()
