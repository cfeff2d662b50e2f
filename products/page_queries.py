"""The normalised query of each cached page, for the edge. The views must spell it alike: test_addresses.py compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.http import QueryDict

from farmlokal.http.query_parameters import check_parameters
from products.listing.listing_parameters import PARAMETERS


def no_query(query: QueryDict) -> str:
    check_parameters(query, ())
    return ""


# By route. The functions raise Problem for a query that the view refuses, and need no I/O.
NORMALISED: Mapping[str, Callable[[QueryDict], str]] = {
    "/products": PARAMETERS.normalised,
    "/products/{pk}": no_query,
    "/categories": no_query,
    "/states": no_query,
}
