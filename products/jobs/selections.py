"""Which products a job is about: those of a list's query, or those with some ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from django.http import QueryDict

from farmlokal.http.problems import InvalidParameter
from farmlokal.jobs.actions import Taken, Total
from products.jobs.walks import take
from products.listing import counting
from products.listing.conditions import Condition
from products.listing.listing_parameters import PARAMETERS
from products.listing.listings import DEFAULT_SORT, Selection
from products.listing.sources import Sql

WITHDRAWN = "withdrawn"


class Products(Protocol):
    @property
    def query(self) -> str:
        """The text that read() takes, normalised."""

    def take(self, cursor: object, count: int) -> Taken: ...

    def sql(self) -> Sequence[Sql]:
        """The checks of a row `p` of the product table."""

    def count(self) -> Total | None: ...


@dataclass(frozen=True)
class ChosenProducts:
    """In ascending order, listed or withdrawn."""

    ids: tuple[int, ...]

    @property
    def query(self) -> str:
        return urlencode({"ids": ",".join(map(str, self.ids))}, safe=",")

    def take(self, cursor: object, count: int) -> Taken:
        """The cursor is the last id."""
        rest = [pk for pk in self.ids if not isinstance(cursor, int) or pk > cursor]
        return Taken(rest[:count], rest[:count][-1] if rest else cursor, is_last=len(rest) <= count)

    def sql(self) -> Sequence[Sql]:
        return ()

    def count(self) -> Total | None:
        return Total(len(self.ids), is_exact=True)


@dataclass(frozen=True)
class ListedProducts:
    """All that meet the conditions, newest first. Products that are created later come before the start."""

    conditions: tuple[Condition, ...]
    filters: tuple[tuple[str, str], ...]
    is_active: bool

    @property
    def query(self) -> str:
        return urlencode([*self.filters, *([] if self.is_active else [(WITHDRAWN, "true")])])

    def take(self, cursor: object, count: int) -> Taken:
        return take(self.conditions, DEFAULT_SORT, cursor, count, is_active=self.is_active)

    def sql(self) -> Sequence[Sql]:
        return (Sql("p.is_active = %s", (self.is_active,)), *(condition.sql() for condition in self.conditions))

    def count(self) -> Total | None:
        found = counting.count(self.conditions, is_active=self.is_active)
        return Total(found.number, found.is_exact)


def read(query: str) -> Products:
    """query: parameters of GET /products, and withdrawn=true. Order and page are ignored. Raises Problem."""
    parameters = QueryDict(query, mutable=True)
    for name in ("sort", "limit", "cursor", "fields"):
        parameters.pop(name, None)
    withdrawn = parameters.pop(WITHDRAWN, ["false"])[-1]
    if withdrawn not in {"true", "false"}:
        raise InvalidParameter(WITHDRAWN, "must be true or false.")
    wanted = PARAMETERS.read(parameters)
    if isinstance(wanted, Selection):
        return ChosenProducts(tuple(sorted(wanted.ids)))
    return ListedProducts(wanted.conditions, wanted.filters, withdrawn == "false")
