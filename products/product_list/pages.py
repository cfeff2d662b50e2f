"""A page of the admin's product list: its rows, and the links around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from django.http import QueryDict

from farmlokal.admin.keyset import KeysetList, Link
from farmlokal.http.problems import Problem
from products import vocabulary
from products.listing.counting import Count, count
from products.listing.keyset_pages import KeysetPage, read_page
from products.listing.listings import Listing
from products.listing.parameters import WHOLE_NUMBER
from products.listing.queries import find
from products.models import Product
from products.product_list.filter_form import FilterForm
from products.product_list.parameters import PARAMETERS, query_of, without
from products.product_list.rows import products_of

VIEWS: dict[str, tuple[tuple[str, str], ...]] = {
    "All": (),
    "In stock": (("in_stock", "true"),),
    "Out of stock": (("in_stock", "false"),),
    "Organic": (("organic", "true"),),
}


def read_list(query: QueryDict) -> KeysetList:
    try:
        listing = PARAMETERS.read_listing(query)
    except Problem as problem:
        return KeysetList(FilterForm(query, problem), tabs=_tabs(Listing()), views=_views(Listing()))
    find_rows = partial(find, listing.conditions, is_active=listing.is_active)
    page = read_page(find_rows, listing.sort, listing.cursor, listing.position, listing.limit)
    rows = [*_with_id(listing, query.get("q", "")), *page.rows]
    if page.rows:  # the list and the form show names of this version
        vocabulary.at_version(page.rows[0]["vocabulary_version"])
    number = _count(listing, page)
    return KeysetList(
        FilterForm(query),
        products_of(rows),
        next=query_of(listing, page.next) if page.next else None,
        previous=query_of(listing, page.previous) if page.previous else None,
        first=query_of(listing) if listing.cursor else None,
        is_cut=page.is_cut,
        total=str(number),
        total_help=number.explain(),
        tabs=_tabs(listing),
        views=_views(listing),
        chips=[Link(_describe(pair, page.rows), without(listing, pair)) for pair in listing.filters],
    )


def _with_id(listing: Listing, text: str) -> Iterable[dict[str, Any]]:
    """The product with this id, listed or not, before those with this number among their words."""
    if not listing.cursor and re.fullmatch(WHOLE_NUMBER, text.strip()):
        yield from Product.objects.rows().filter(pk=int(text))


def _count(listing: Listing, page: KeysetPage) -> Count:
    """A whole list on one page is counted already."""
    if not listing.cursor and not page.next:
        return Count(len(page.rows), len(page.rows), len(page.rows))
    return count(listing.conditions, is_active=listing.is_active)


def _tabs(listing: Listing) -> list[Link]:
    states = {"Listed": True, "Withdrawn": False}
    return [
        Link(text, query_of(listing._replace(is_active=is_active)), listing.is_active is is_active)
        for text, is_active in states.items()
    ]


def _views(listing: Listing) -> list[Link]:
    return [
        Link(text, query_of(listing._replace(filters=filters)), set(listing.filters) == set(filters))
        for text, filters in VIEWS.items()
    ]


def _describe(pair: tuple[str, str], rows: Sequence[dict[str, Any]]) -> str:
    """A filter in words, such as "State: Goa"."""
    name, text = pair
    names = vocabulary.cached()
    if name in names.ids:
        pk = names.ids[name].get(text)
        text = names.names[name][pk]["name"] if pk else text
    elif name == "farm" and rows:
        text = rows[0]["farm_name"]
    elif name in {"organic", "in_stock"}:
        text = "yes" if text == "true" else "no"
    labels = {"q": "Search", "price_min": "From ₹", "price_max": "To ₹"}
    return f"{labels.get(name, name.replace('_', ' ').capitalize())}: {text}"
