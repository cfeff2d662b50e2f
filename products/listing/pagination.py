"""Keyset pagination for any viewset: a page is one bounded range of an index, at every depth.

The order is (sort field, primary key), which is total: no row is skipped or repeated among equal
values. The predicate is the expanded `a < x OR (a = x AND id < y)`; MySQL reads a row comparison
`(a, id) < (x, y)` as a scan of the whole index.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Q
from rest_framework.pagination import BasePagination
from rest_framework.response import Response

from farmlokal.http.problems import InvalidParameter
from products.listing.cursors import Cursor, CursorError, seal, unseal

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from rest_framework.request import Request
    from rest_framework.views import APIView


class Sort(NamedTuple):
    field: str
    is_descending: bool

    @classmethod
    def parse(cls, name: str) -> Sort:
        return cls(name.removeprefix("-"), name.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.field}" if self.is_descending else self.field

    def reversed(self) -> Sort:
        return Sort(self.field, not self.is_descending)


class Place(NamedTuple):
    """A place in an order: that of a row, or one that a row could have."""

    value: Any
    pk: int


class Found(NamedTuple):
    rows: list[Any]
    stopped_at: Place | None = None  # where looking was given up; what lies behind it is not known


class KeysetPagination(BasePagination):
    """Configured by attributes; for models with an integer primary key and sort fields that are never null.
    Rows may be instances or dictionaries of .values() that hold the sort fields and the primary key.

    Answers {"next": url | null, "previous": url | null, "results": […]} and a Link header.
    """

    page_size = 25
    max_page_size = 100
    sort_fields: tuple[str, ...] = ("pk",)
    default_sort = "-pk"
    limit_param = "limit"
    cursor_param = "cursor"
    sort_param = "sort"

    request: Request
    model: type[Model]
    limit: int
    sort: Sort
    filters: list[tuple[str, str]]
    cursor: Cursor | None
    next: Cursor | None
    previous: Cursor | None

    @classmethod
    def parameters(cls) -> list[str]:
        return [cls.limit_param, cls.cursor_param, cls.sort_param]

    # Three hooks:

    def find(self, queryset: QuerySet[Any], sort: Sort, behind: Place | None, count: int) -> Found:
        """The first `count` rows of the queryset in this order, behind this place."""
        sign, operator = ("-", "lt") if sort.is_descending else ("", "gt")
        if behind:
            equal = Q(**{sort.field: behind.value, f"pk__{operator}": behind.pk})
            queryset = queryset.filter(Q(**{f"{sort.field}__{operator}": behind.value}) | equal)
        return Found(list(queryset.order_by(f"{sign}{sort.field}", f"{sign}pk")[:count]))

    def asked(self, queryset: QuerySet[Any]) -> list[tuple[str, str]]:
        """The filters of the request, one spelling for equal ones: links keep them, cursors are bound to them."""
        parameters = self.request.query_params.lists()
        return sorted((name, value) for name, values in parameters for value in values if name not in self.parameters())

    def unbound(self) -> list[tuple[str, str]]:
        """What links keep besides, though cursors do not depend on it."""
        return []

    def read(self, queryset: QuerySet[Any], request: Request) -> str:
        """Takes in what the request asks for, without a statement; returns the query that all who ask for the same
        page could have sent."""
        self.request = request
        self.model = queryset.model
        self.limit = self._read_limit()
        self.sort = self._read_sort()
        self.filters = self.asked(queryset)
        self.cursor = self._read_cursor()
        return self._query(self.cursor)

    def paginate_queryset(  # type: ignore[override]  # not for plain sequences
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.read(queryset, request)
        return self.page(queryset)

    def page(self, queryset: QuerySet[Any]) -> list[Any]:
        cursor = self.cursor
        backward = cursor is not None and cursor.backward
        behind = Place(self._value(cursor), cursor.pk) if cursor else None
        found = self.find(queryset, self.sort.reversed() if backward else self.sort, behind, self.limit + 1)
        rows = found.rows[: self.limit]
        ahead, back = self._ahead(found, backward=backward), self._turned(cursor) if cursor else None
        self.next, self.previous = (back, ahead) if backward else (ahead, back)
        return rows[::-1] if backward else rows

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self._url(self.next), "previous": self._url(self.previous)}
        header = ", ".join(f'<{url}>; rel="{name}"' for name, url in links.items() if url)
        return Response({**links, "results": data}, headers={"Link": header} if header else None)

    def _read_limit(self) -> int:
        text = self.request.query_params.get(self.limit_param)
        if text is None:
            return self.page_size
        if not re.fullmatch(r"[0-9]{1,18}", text) or not 1 <= int(text) <= self.max_page_size:
            raise InvalidParameter(self.limit_param, f"must be a whole number from 1 to {self.max_page_size}.")
        return int(text)

    def _read_sort(self) -> Sort:
        name = self.request.query_params.get(self.sort_param, self.default_sort)
        allowed = [f"{sign}{field}" for field in self.sort_fields for sign in ("", "-")]
        if name not in allowed:
            raise InvalidParameter(self.sort_param, f"must be one of {', '.join(allowed)}.", allowed)
        return Sort.parse(name)

    def _read_cursor(self) -> Cursor | None:
        text = self.request.query_params.get(self.cursor_param)
        if text is None:
            return None
        try:
            cursor = unseal(text, self._bound_to())
            self._value(cursor)
        except (CursorError, ValidationError) as error:
            raise InvalidParameter(
                self.cursor_param,
                "is not a cursor of this listing, or belongs to another sort or filter; start without one.",
                code="cursor-invalid",
            ) from error
        return cursor

    def _bound_to(self) -> list[str]:
        return [self.model._meta.label_lower, str(self.sort), urlencode(self.filters)]

    def _value(self, cursor: Cursor) -> Any:
        return self._field(self.sort.field).to_python(cursor.value)

    def _field(self, name: str) -> Any:
        return self.model._meta.pk if name == "pk" else self.model._meta.get_field(name)

    def _ahead(self, found: Found, *, backward: bool) -> Cursor | None:
        """Where to go on in the direction of reading: one text for one place, whichever way it was reached."""
        if len(found.rows) > self.limit:
            shown, hidden = found.rows[self.limit - 1 : self.limit + 1]
            return self._turned(self._behind(hidden)) if backward else self._behind(shown)
        if found.stopped_at:
            return Cursor(backward, str(found.stopped_at.value), found.stopped_at.pk)
        return None

    def _behind(self, row: Any) -> Cursor:
        def read(field: str) -> Any:
            name = self._field(field).attname
            return row[name] if isinstance(row, dict) else getattr(row, name)

        return Cursor(False, str(read(self.sort.field)), read("pk"))

    def _turned(self, cursor: Cursor) -> Cursor:
        """The other way from the same place, which is between two rows and needs none of them to be there."""
        toward_it = 1 if self.sort.is_descending == cursor.backward else -1
        return Cursor(not cursor.backward, cursor.value, cursor.pk + toward_it)

    def _url(self, cursor: Cursor | None) -> str | None:
        return f"{self.request.build_absolute_uri(self.request.path)}?{self._query(cursor)}" if cursor else None

    def _query(self, cursor: Cursor | None) -> str:
        """Normalised: parameters in one order, defaults left out."""
        query = list(self.filters)
        if str(self.sort) != self.default_sort:
            query.append((self.sort_param, str(self.sort)))
        if self.limit != self.page_size:
            query.append((self.limit_param, str(self.limit)))
        query += self.unbound()
        if cursor:
            query.append((self.cursor_param, seal(cursor, self._bound_to())))
        return urlencode(query)
