"""Single flight by address: one request asks Django for a page, and the others wait for it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from farmlokal.edge.local_pages import LocalPage
from farmlokal.page_cache.pages import Result

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from farmlokal.edge.request import Address


class PageFlight:
    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.landed = asyncio.Event()
        self.page: LocalPage | None = None  # None: Django answered without a page
        self.result: Result = "miss"


class PageFlights:
    def __init__(self) -> None:
        self._flights: dict[Address, PageFlight] = {}

    def __contains__(self, address: Address) -> bool:
        return address in self._flights

    def get(self, address: Address) -> PageFlight | None:
        return self._flights.get(address)

    def begin(self, address: Address) -> PageFlight:
        """If the address already has a flight, later requests join that flight, not the new one."""
        flight = PageFlight()
        self._flights.setdefault(address, flight)
        return flight

    def land(self, address: Address, flight: PageFlight) -> None:
        if self._flights.get(address) is flight:
            del self._flights[address]
        flight.landed.set()
