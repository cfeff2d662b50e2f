"""Pages in this process's own memory, ready to be sent."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from farmlokal.http.representations import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farmlokal.page_cache.pages import Page

    Headers = list[tuple[bytes, bytes]]

AROUND_A_PAGE_BYTES = 2000


class Held:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.fresh_until = time.monotonic() + page.left
        representation = page.representation
        self.size = len(representation.identity) + len(representation.gzipped or b"") + AROUND_A_PAGE_BYTES
        self._headers: dict[tuple[bool, bool], Headers] = {}

    def as_of_now(self) -> Page:
        return self.page._replace(left=self.fresh_until - time.monotonic())

    def headers(self, body: bytes, *, is_whole: bool) -> Headers:
        """Those that go with one of its bodies, in a 200 (is_whole) or a 304; made once."""
        representation = self.page.representation
        is_gzipped = body is representation.gzipped
        if (is_gzipped, is_whole) not in self._headers:
            headers = representation.headers(body)
            if is_whole:
                headers |= {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))}
                headers |= {"Content-Encoding": "gzip"} if is_gzipped else {}
            self._headers[is_gzipped, is_whole] = encoded(headers.items())
        return self._headers[is_gzipped, is_whole]


class Pages:
    """Pages by key, the least recently used of which go when there are too many bytes of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[str, Held] = OrderedDict()

    def get(self, key: str) -> Held | None:
        held = self._held.get(key)
        if held:
            self._held.move_to_end(key)
        return held

    def put(self, key: str, held: Held) -> None:
        if key in self._held:
            self._bytes -= self._held.pop(key).size
        self._held[key] = held
        self._bytes += held.size
        while self._bytes > self._max_bytes:
            self._bytes -= self._held.popitem(last=False)[1].size


def encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in headers]
