"""Admin lists of tables that are too large to count on each request."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

WINDOW_ROWS = 1000


class WindowPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """Shows the first WINDOW_ROWS matches; fetches that many keys instead of counting all."""

    @cached_property
    def _keys(self) -> list[Any]:
        matches: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the stubs allow any list
        return list(matches.values_list("pk", flat=True)[:WINDOW_ROWS])

    @cached_property
    def count(self) -> int:
        return len(self._keys)

    def page(self, number: int | str) -> Page[Any]:
        """The rows by their keys. For whole rows, the optimizer might sort all matches instead of reading an index."""
        number = self.validate_number(number)
        keys = self._keys[(number - 1) * self.per_page :][: self.per_page]
        matches: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return Page(matches.filter(pk__in=keys), number, self)


def is_across_pages(request: HttpRequest) -> bool:
    """Whether an action applies to all matching rows, not only to one page. Django accepts any value but 0 for it."""
    return request.POST.get("select_across") not in {None, "0"}
