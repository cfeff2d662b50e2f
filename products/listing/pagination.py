"""Keyset pagination: a page is one bounded range of an index, at every depth."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from products.listing.cursors import Cursor
from products.listing.keyset_pages import read_page
from products.listing.listings import Listing
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
        rows = partial(find, listing.conditions, is_active=listing.is_active)
        page = read_page(rows, listing.sort, listing.cursor, listing.position, listing.limit)
        self.next, self.previous = page.next, page.previous
        return page.rows

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self._url(self.next), "previous": self._url(self.previous)}
        header = ", ".join(f'<{url}>; rel="{name}"' for name, url in links.items() if url)
        return Response({**links, "results": data}, headers={"Link": header} if header else None)

    def _url(self, cursor: Cursor | None) -> str | None:
        return f"{self.url}?{urlencode(self.listing._replace(cursor=cursor).parameters())}" if cursor else None
