"""Which products a job is about: those of a list's query, or those with some ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from farmlokal.counts import Total
from farmlokal.jobs.actions import Taken, take_ids
from products.jobs.walks import take
from products.listing import listing_parameters
from products.listing.counting import Count, count
from products.listing.listings import DEFAULT_SORT, PAGE_SIZE, Listing, Selection
from products.listing.sources import Sql
from products.product_list import parameters as list_parameters


class Products(ABC):
    @property
    @abstractmethod
    def query(self) -> str:
        """The text that read() takes, normalised."""

    @abstractmethod
    def take(self, cursor: Any, count: int) -> Taken:
        """Ids."""

    @abstractmethod
    def sql(self) -> Sequence[Sql]:
        """The checks of a row `p` of the product table."""

    @abstractmethod
    def counted(self) -> Count:
        """Their number, with its range if it is estimated."""

    def count(self) -> Total:
        found = self.counted()
        return Total(found.number, found.is_exact)


@dataclass(frozen=True)
class ChosenProducts(Products):
    """In ascending order, listed or withdrawn."""

    ids: tuple[int, ...]

    @property
    def query(self) -> str:
        return urlencode({"ids": ",".join(map(str, self.ids))}, safe=",")

    def take(self, cursor: Any, count: int) -> Taken:
        return take_ids(self.ids, cursor, count)

    def sql(self) -> Sequence[Sql]:
        return ()

    def counted(self) -> Count:
        return Count(len(self.ids), len(self.ids), len(self.ids))


@dataclass(frozen=True)
class ListedProducts(Products):
    """All products of a list, newest first. Products that are created later come before the start."""

    listing: Listing

    @property
    def query(self) -> str:
        return urlencode(self.listing.parameters())

    def take(self, cursor: Any, count: int) -> Taken:
        listing = self.listing
        return take(listing.conditions, DEFAULT_SORT, cursor, count, is_active=listing.is_active)

    def sql(self) -> Sequence[Sql]:
        is_active = Sql("p.is_active = %s", (self.listing.is_active,))
        return (is_active, *(condition.sql() for condition in self.listing.conditions))

    def counted(self) -> Count:
        return count(self.listing.conditions, is_active=self.listing.is_active)


def read(query: str) -> Products:
    """query: of the admin's list, whose order and page are ignored; or ids=1,2. Raises Problem."""
    parameters = QueryDict(query, mutable=True)
    for name in ("sort", "limit", "cursor"):
        parameters.pop(name, None)
    if "ids" in parameters:
        wanted = listing_parameters.PARAMETERS.read(parameters)
        return ChosenProducts(tuple(sorted(wanted.ids if isinstance(wanted, Selection) else ())))
    listing = list_parameters.PARAMETERS.read_listing(parameters)
    return ListedProducts(listing._replace(limit=PAGE_SIZE))  # the default is not spelled out
