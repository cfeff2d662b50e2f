"""Pages of the admin's lists of tables that are too large to be counted at each click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

WINDOW_ROWS = 1000


class WindowPaginator(Paginator):  # type: ignore[type-arg]
    """Pages over the first WINDOW_ROWS matches, for which that many keys are fetched instead of a count."""

    @cached_property
    def count(self) -> int:
        matches: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return len(matches.values_list("pk", flat=True)[:WINDOW_ROWS])


def is_across_pages(request: HttpRequest) -> bool:
    """Whether an action is asked for all rows that match, not for one page; Django takes more than 1 for it."""
    return request.POST.get("select_across") not in {None, "0"}
