"""Cached pages in this process's memory, ready to be sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from farmlokal.edge.asgi_types import Headers
from farmlokal.http.representations import CONTENT_TYPE
from farmlokal.page_cache.pages import Page, Served

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from farmlokal.edge.request import Address

OVERHEAD_BYTES = 2000  # of the objects around a page's bodies
MAX_PAGES_BYTES = 32 * 1024 * 1024
MAX_ADDRESSES = 10_000
MAX_QUERY_BYTES = 2048  # Django reads a longer query each time

# The headers that every response at one address has. No other header of Django's response is repeated.
HEADERS_OF_ADDRESS = {
    *(b"cache-control", b"strict-transport-security"),
    *(b"x-content-type-options", b"x-frame-options", b"referrer-policy", b"cross-origin-opener-policy"),
}


class KnownAddress(NamedTuple):
    page_key: str
    headers: Headers


class LocalPage:
    def __init__(self, page: Page) -> None:
        self._page = page
        self.generation = page.generation
        self.representation = page.representation
        self._fresh_until = time.monotonic() + page.left
        self._headers: dict[tuple[bool, bool], Headers] = {}

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() < self._fresh_until

    @property
    def size(self) -> int:
        return len(self.representation.identity) + len(self.representation.gzipped or b"") + OVERHEAD_BYTES

    def as_of_now(self) -> Page:
        return self._page._replace(left=self._fresh_until - time.monotonic())

    def headers(self, body: bytes, *, is_whole: bool) -> Headers:
        """For one of the page's bodies, in a 200 (is_whole) or a 304."""
        is_gzipped = body is self.representation.gzipped
        if (is_gzipped, is_whole) not in self._headers:
            headers = self.representation.headers(body)
            if is_whole:
                headers |= {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))}
                headers |= {"Content-Encoding": "gzip"} if is_gzipped else {}
            encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            self._headers[is_gzipped, is_whole] = encoded
        return self._headers[is_gzipped, is_whole]


class LocalPages:
    """Pages by key, and the page key of each address that Django has answered. The least recently used go first."""

    def __init__(self) -> None:
        self._addresses: LRUCache[Address, KnownAddress] = LRUCache(MAX_ADDRESSES)
        self._pages: LRUCache[str, LocalPage] = LRUCache(MAX_PAGES_BYTES, getsizeof=lambda page: page.size)

    def address(self, address: Address) -> KnownAddress | None:
        try:  # get() takes twice as long
            return self._addresses[address]
        except KeyError:
            return None

    def page(self, key: str) -> LocalPage | None:
        try:
            return self._pages[key]
        except KeyError:
            return None

    def put(self, key: str, page: Page) -> LocalPage:
        local = self._pages[key] = LocalPage(page)
        return local

    def learn(self, address: Address, served: Served, headers: Headers) -> LocalPage:
        """From Django's response: its page and headers."""
        page = LocalPage(served.page)
        if len(address[1]) <= MAX_QUERY_BYTES:
            common = [header for header in headers if header[0] in HEADERS_OF_ADDRESS]
            self._addresses[address] = KnownAddress(served.key, common)
            if page.generation and page.is_fresh:
                self._pages[served.key] = page
        return page
