"""Single flight by address: one request asks Django for a page, and the others wait for it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from farmlokal.edge.local_pages import LocalPage
from farmlokal.page_cache.pages import Result

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from farmlokal.edge.request import Address


class Flight:
    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.landed = asyncio.Event()
        self.page: LocalPage | None = None  # None: Django answered without a page
        self.result: Result = "miss"


class Flights:
    def __init__(self) -> None:
        self._flights: dict[Address, Flight] = {}

    def __contains__(self, address: Address) -> bool:
        return address in self._flights

    def get(self, address: Address) -> Flight | None:
        return self._flights.get(address)

    def begin(self, address: Address) -> Flight:
        """If another flight has begun meanwhile, requests wait for that one."""
        flight = Flight()
        self._flights.setdefault(address, flight)
        return flight

    def land(self, address: Address, flight: Flight) -> None:
        if self._flights.get(address) is flight:
            del self._flights[address]
        flight.landed.set()
