"""Single flight by page: one request asks Django for it, and the others wait for the answer."""

from __future__ import annotations

import asyncio

from farmlokal.edge.local_pages import LocalPage
from farmlokal.page_cache.pages import Result


class PageFlight:
    """began_at: its page has no older rows than from this time, by time.monotonic."""

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.landed = asyncio.Event()
        self.page: LocalPage | None = None  # None: Django answered without a page
        self.result: Result = "miss"


class PageFlights:
    def __init__(self) -> None:
        self._flights: dict[str, PageFlight] = {}  # by page key

    def get(self, page_key: str) -> PageFlight | None:
        return self._flights.get(page_key)

    def begin(self, page_key: str, began_at: float) -> PageFlight:
        """If the page already has a flight, later requests join that flight, not the new one."""
        flight = PageFlight(began_at)
        self._flights.setdefault(page_key, flight)
        return flight

    def land(self, page_key: str, flight: PageFlight) -> None:
        if self._flights.get(page_key) is flight:
            del self._flights[page_key]
        flight.landed.set()
