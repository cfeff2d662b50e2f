"""Cached pages in this process's memory, ready to be sent."""

from __future__ import annotations

import time

from cachetools import LRUCache

from farmlokal.edge.asgi_types import Headers
from farmlokal.http.representations import CONTENT_TYPE
from farmlokal.page_cache.pages import Page

OVERHEAD_BYTES = 2000  # of the objects around a page's bodies
MAX_PAGES_BYTES = 32 * 1024 * 1024


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
    """Pages by key. The least recently used go first."""

    def __init__(self) -> None:
        self._pages: LRUCache[str, LocalPage] = LRUCache(MAX_PAGES_BYTES, getsizeof=lambda page: page.size)

    def get(self, key: str) -> LocalPage | None:
        try:  # LRUCache.get() takes twice as long
            return self._pages[key]
        except KeyError:
            return None

    def put(self, key: str, page: LocalPage) -> None:
        if page.generation and page.is_fresh:
            self._pages[key] = page
