"""The URL of the admin's product list: the parameters of GET /products, and `withdrawn`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import QueryDict
from rest_framework.serializers import ValidationError

from farmlokal.http.problems import MAX_NAME_LENGTH, Problem
from farmlokal.openapi.parameters import JSON
from products.listing.cursors import Cursor
from products.listing.listing_parameters import ListingParameters
from products.listing.listings import MAX_PAGE_SIZE, Listing
from products.listing.parameters import Parameter

ROWS = MAX_PAGE_SIZE  # on a page without `limit`


class WithdrawnParameter(Parameter):
    schema: ClassVar[JSON] = {"type": "boolean"}

    def to_internal_value(self, data: str) -> bool:
        if data not in {"true", "false"}:
            raise ValidationError("must be true or false.")
        return data == "true"


class ListParameters(ListingParameters):
    withdrawn = WithdrawnParameter(help_text="Withdrawn products instead of listed ones.", example=True)

    def get_fields(self) -> dict[str, Any]:
        """Without those that choose members or products: staff see rows of a list."""
        fields = super().get_fields()
        return {name: field for name, field in fields.items() if name not in {"ids", "fields"}}

    def read_listing(self, query: QueryDict) -> Listing:
        """Raises Problem, whose errors name all bad parameters."""
        known = query.copy()
        unknown = [name for name in query if name not in self.fields]
        for name in unknown:
            known.pop(name)
        errors = [{"parameter": name[:MAX_NAME_LENGTH], "detail": "is not a parameter here."} for name in unknown]
        try:
            listing = self.read(known)
        except Problem as problem:
            raise Problem(problem.code, str(problem.detail), [*errors, *problem.errors]) from problem
        if errors:
            raise Problem("invalid-parameter", "unknown parameters", errors)
        assert isinstance(listing, Listing)  # noqa: S101  # without `ids`
        return listing if "limit" in query else listing._replace(limit=ROWS)


PARAMETERS = ListParameters()


def query_of(listing: Listing, cursor: Cursor | None = None) -> str:
    """The list's query for this listing, at this cursor."""
    pairs = listing._replace(cursor=cursor).parameters()
    return urlencode([*(pair for pair in pairs if pair[0] != "limit"), *_limit(listing)])


def without(listing: Listing, removed: tuple[str, str]) -> str:
    """The query without this filter."""
    return query_of(listing._replace(filters=tuple(pair for pair in listing.filters if pair != removed)))


def _limit(listing: Listing) -> Iterable[tuple[str, str]]:
    return [("limit", str(listing.limit))] if listing.limit != ROWS else []
