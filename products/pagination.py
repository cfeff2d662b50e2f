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

from farmlokal.errors import InvalidParameter
from products.cursors import Cursor, CursorError, seal, unseal

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


class KeysetPagination(BasePagination):
    """Configured by attributes; for models with an integer primary key and sort fields that are never null.
    Rows may be instances or dictionaries of .values() that hold the sort fields and the primary key.

    Answers {"next": url | null, "previous": url | null, "results": […]} and a Link header. Every
    other query parameter of the request is taken for a filter: links keep it, cursors are bound to it.
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
    next: Cursor | None
    previous: Cursor | None

    @classmethod
    def parameters(cls) -> list[str]:
        return [cls.limit_param, cls.cursor_param, cls.sort_param]

    def order(self, queryset: QuerySet[Any], sort: Sort) -> QuerySet[Any]:
        """The queryset in the order (sort field, primary key); a hook for those who know which index serves it."""
        sign = "-" if sort.is_descending else ""
        return queryset.order_by(f"{sign}{sort.field}", f"{sign}pk")

    def paginate_queryset(  # type: ignore[override]  # not for plain sequences
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.request = request
        self.model = queryset.model
        self.limit = self._read_limit()
        self.sort = self._read_sort()
        cursor = self._read_cursor()
        backward = cursor is not None and cursor.backward
        direction = self.sort.reversed() if backward else self.sort
        if cursor:
            queryset = queryset.filter(self._behind(cursor, direction))
        rows = list(self.order(queryset, direction)[: self.limit + 1])
        has_more = len(rows) > self.limit
        rows = rows[: self.limit]
        if backward:
            rows.reverse()
        self._link(rows, cursor, has_more=has_more)
        return rows

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

    def _filters(self) -> list[tuple[str, str]]:
        parameters = self.request.query_params.lists()
        return sorted((name, value) for name, values in parameters for value in values if name not in self.parameters())

    def _bound_to(self) -> list[str]:
        return [self.model._meta.label_lower, str(self.sort), urlencode(self._filters())]

    def _value(self, cursor: Cursor) -> Any:
        return self._field(self.sort.field).to_python(cursor.value)

    def _field(self, name: str) -> Any:
        return self.model._meta.pk if name == "pk" else self.model._meta.get_field(name)

    def _behind(self, cursor: Cursor, direction: Sort) -> Q:
        field, operator, value = direction.field, "lt" if direction.is_descending else "gt", self._value(cursor)
        return Q(**{f"{field}__{operator}": value}) | Q(**{field: value, f"pk__{operator}": cursor.pk})

    def _link(self, rows: list[Any], cursor: Cursor | None, *, has_more: bool) -> None:
        """Sets next and previous. What lies on the side that the reader came from is not looked up again."""
        self.next = self.previous = None
        backward = cursor is not None and cursor.backward
        if rows:
            if has_more or backward:
                self.next = self._at(rows[-1], backward=False)
            if has_more if backward else cursor:
                self.previous = self._at(rows[0], backward=True)
        elif cursor:
            # All rows on this side are gone: the way back starts with the row of the cursor itself.
            toward_it = 1 if self.sort.is_descending == backward else -1
            back = Cursor(not backward, cursor.value, cursor.pk + toward_it)
            self.next, self.previous = (back, None) if backward else (None, back)

    def _at(self, row: Any, *, backward: bool) -> Cursor:
        def read(field: str) -> Any:
            name = self._field(field).attname
            return row[name] if isinstance(row, dict) else getattr(row, name)

        return Cursor(backward, str(read(self.sort.field)), read("pk"))

    def _url(self, cursor: Cursor | None) -> str | None:
        if cursor is None:
            return None
        query = self._filters()
        if str(self.sort) != self.default_sort:
            query.append((self.sort_param, str(self.sort)))
        if self.limit != self.page_size:
            query.append((self.limit_param, str(self.limit)))
        query.append((self.cursor_param, seal(cursor, self._bound_to())))
        return f"{self.request.build_absolute_uri(self.request.path)}?{urlencode(query)}"


class ProductPagination(KeysetPagination):
    sort_fields = ("created_at", "price", "name")
    default_sort = "-created_at"

    def order(self, queryset: QuerySet[Any], sort: Sort) -> QuerySet[Any]:
        ordered = super().order(queryset, sort)
        # Named product_created_at and so on, in Product.Meta.
        forced: QuerySet[Any] = ordered.force_index(f"product_{sort.field}")  # type: ignore[attr-defined]
        return forced
