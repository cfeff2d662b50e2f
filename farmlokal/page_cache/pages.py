"""A cached page, and the form in which Redis stores it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import orjson

from farmlokal.http.representations import Representation

Result: TypeAlias = Literal["hit", "miss", "stale", "bypass"]  # X-Cache


class Lifetime(NamedTuple):
    """Seconds that a page is fresh, and that it is kept after that, to be served while MySQL is away."""

    fresh: int
    kept: int


class Page(NamedTuple):
    representation: Representation
    generation: str  # "": valid for the request that rendered it alone
    left: float  # seconds until it is stale, from when it was looked up

    def packed(self) -> bytes:
        """What store_page.lua stores behind the generation and the time."""
        etag, identity, gzipped, link = self.representation
        head = orjson.dumps([etag, link, len(identity), gzipped is not None])
        return b"".join((head, b"\n", identity, gzipped or b""))


def unpacked(stored: bytes, left_ms: int = 0) -> Page:
    prefix, head, bodies = stored.split(b"\n", 2)
    etag, link, length, is_gzipped = orjson.loads(head)
    representation = Representation(etag, bodies[:length], bodies[length:] if is_gzipped else None, link)
    return Page(representation, prefix.partition(b" ")[0].decode(), left_ms / 1000)


class Served(NamedTuple):
    """The page that answers a request, and where it came from."""

    key: str
    page: Page
    result: Result


class Lookup(NamedTuple):
    """The result of a page lookup in Redis. With the page's lock, the process must render the page."""

    page_key: str
    owner: str  # of the lock
    at: float  # by time.monotonic
    generation: str = ""  # "": no cached page is valid
    page: Page | None = None  # of that generation, perhaps stale
    is_locked: bool = False

    @property
    def result(self) -> Literal["hit", "stale"] | None:
        """None: the page must be rendered, or is being rendered."""
        if self.page is None or self.is_locked:
            return None
        return "hit" if self.page.left > 0 else "stale"

    @property
    def is_rendered_elsewhere(self) -> bool:
        """Another process has the lock."""
        return bool(self.generation) and not self.is_locked and self.page is None
