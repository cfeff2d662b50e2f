"""What a request for products asks for, as immutable values."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from products.listing.conditions import Condition
from products.listing.cursors import Cursor, seal, unseal
from products.models import Product

PAGE_SIZE = 25
MAX_PAGE_SIZE = 100


class Position(NamedTuple):
    """A position in an order. There need not be a row at it."""

    value: Any
    pk: int


class Sort(NamedTuple):
    """An order by a field and, among equal values, by id."""

    field: str
    is_descending: bool

    @classmethod
    def parse(cls, name: str) -> Sort:
        return cls(name.removeprefix("-"), name.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.field}" if self.is_descending else self.field

    def reversed(self) -> Sort:
        return Sort(self.field, not self.is_descending)

    def just_before(self, value: Any, pk: int) -> Position:
        """The position before this row: a page that starts after it has the row first."""
        return Position(value, pk + 1 if self.is_descending else pk - 1)


class Rows(NamedTuple):
    rows: list[dict[str, Any]]
    stopped_at: Position | None = None  # the search was given up here: rows after it are unknown


DEFAULT_SORT = Sort.parse("-created_at")


class Listing(NamedTuple):
    """One page of products: its conditions, order, position and size.

    SQL, links and cursors are made from this value alone: there is no queryset whose filters they could miss.
    """

    conditions: tuple[Condition, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()  # the conditions as parameters, equal ones spelled alike
    sort: Sort = DEFAULT_SORT
    limit: int = PAGE_SIZE
    fields: tuple[str, ...] | None = None  # None: all
    cursor: Cursor | None = None
    position: Position | None = None  # of the cursor
    is_active: bool = True  # listed products, or withdrawn ones, which only staff may see

    def parameters(self) -> list[tuple[str, str]]:
        """The normalised query: parameters in one order, without defaults."""
        pairs = list(self.filters)
        if not self.is_active:
            pairs.append(("withdrawn", "true"))
        if self.sort != DEFAULT_SORT:
            pairs.append(("sort", str(self.sort)))
        if self.limit != PAGE_SIZE:
            pairs.append(("limit", str(self.limit)))
        if self.fields:
            pairs.append(("fields", ",".join(self.fields)))
        if self.cursor:
            pairs.append(("cursor", seal(self.cursor, self._bound_to())))
        return pairs

    def at(self, text: str) -> Listing:
        """The listing at this cursor. Raises CursorError, or ValidationError if its value no longer fits the field."""
        cursor = unseal(text, self._bound_to())
        field: Any = Product._meta.get_field(self.sort.field)
        return self._replace(cursor=cursor, position=Position(field.to_python(cursor.value), cursor.pk))

    def _bound_to(self) -> list[str]:
        """A cursor depends on sort and filters, not on limit and fields."""
        withdrawn = [] if self.is_active else ["withdrawn"]
        return [Product._meta.label_lower, str(self.sort), urlencode(self.filters), *withdrawn]


class Selection(NamedTuple):
    """Products by id, in the caller's order."""

    ids: tuple[int, ...]
    fields: tuple[str, ...] | None = None  # None: all

    def parameters(self) -> list[tuple[str, str]]:
        fields = [("fields", ",".join(self.fields))] if self.fields else []
        return [("ids", ",".join(map(str, self.ids))), *fields]
