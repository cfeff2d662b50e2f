"""Keyset pagination: a page is one bounded range of an index, at every depth.

The order is (sort field, id), which is total: no product is skipped or repeated among equal values.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from products.listing.cursors import Cursor
from products.listing.listings import Listing, Rows
from products.listing.queries import find


class ProductPagination(BasePagination):
    """Pages a Listing. Answers {"next": url | null, "previous": url | null, "results": […]} and a Link header."""

    listing: Listing
    url: str
    next: Cursor | None
    previous: Cursor | None

    def paginate_queryset(  # type: ignore[override]
        self, listing: Listing, request: Request, view: APIView | None = None
    ) -> list[dict[str, Any]]:
        """Not for a queryset: the page's SQL is made from the Listing alone and would ignore the queryset's filters."""
        if not isinstance(listing, Listing):
            raise TypeError(f"A Listing is needed, not a {type(listing).__name__}.")
        self.listing, self.url = listing, request.build_absolute_uri(request.path)
        cursor, sort = listing.cursor, listing.sort
        is_backward = cursor is not None and cursor.backward
        order = sort.reversed() if is_backward else sort
        found = find(listing.conditions, order, listing.position, listing.limit + 1)
        ahead, back = self._ahead(found, is_backward=is_backward), self._turned(cursor) if cursor else None
        self.next, self.previous = (back, ahead) if is_backward else (ahead, back)
        rows = found.rows[: listing.limit]
        return rows[::-1] if is_backward else rows

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self._url(self.next), "previous": self._url(self.previous)}
        header = ", ".join(f'<{url}>; rel="{name}"' for name, url in links.items() if url)
        return Response({**links, "results": data}, headers={"Link": header} if header else None)

    def _ahead(self, found: Rows, *, is_backward: bool) -> Cursor | None:
        """The next page in the direction of reading: one cursor for one position, whichever way it was reached."""
        limit = self.listing.limit
        if len(found.rows) > limit:
            last_shown, first_hidden = found.rows[limit - 1 : limit + 1]
            return self._turned(self._after(first_hidden)) if is_backward else self._after(last_shown)
        if found.stopped_at:
            return Cursor(is_backward, str(found.stopped_at.value), found.stopped_at.pk)
        return None

    def _after(self, row: dict[str, Any]) -> Cursor:
        return Cursor(False, str(row[self.listing.sort.field]), row["id"])

    def _turned(self, cursor: Cursor) -> Cursor:
        """The same position, read in the other direction. It lies between two rows; neither of them needs to exist."""
        toward_it = 1 if self.listing.sort.is_descending == cursor.backward else -1
        return Cursor(not cursor.backward, cursor.value, cursor.pk + toward_it)

    def _url(self, cursor: Cursor | None) -> str | None:
        return f"{self.url}?{urlencode(self.listing._replace(cursor=cursor).parameters())}" if cursor else None
