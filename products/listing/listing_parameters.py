"""The query of GET /products, read into a Listing or a Selection. Its OpenAPI parameters are derived from here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError as InvalidValueError
from django.http import QueryDict
from rest_framework.serializers import Serializer, ValidationError

from farmlokal.http.problems import InvalidParameter, Problem
from farmlokal.http.query_parameters import check_parameters
from products.listing.conditions import Condition, Priced
from products.listing.cursors import CursorError
from products.listing.filters import (
    MAX_Q_LENGTH,
    CategoryFilter,
    FarmFilter,
    Filter,
    FlagFilter,
    KnownSlugFilter,
    PriceFilter,
    SlugFilter,
    WordsFilter,
)
from products.listing.listings import DEFAULT_SORT, PAGE_SIZE, Listing, Selection
from products.listing.parameters import CursorParameter, FieldsParameter, IdsParameter, LimitParameter, SortParameter


class ListingParameters(Serializer[Any]):
    """Filters are normalised in this order.

    Without OpenAPI's "default": generated clients would send it, and next to `ids` it is an error.
    """

    limit = LimitParameter(help_text=f"Products a page; {PAGE_SIZE} by default.", example=50)
    cursor = CursorParameter(
        help_text="Where the page starts. Opaque: taken from `next` or `previous`, with the same sort and filters.",
        example="q2mI5hJ0o3mYb2c8Jv0Zk1x7a9Q",
    )
    sort = SortParameter(
        help_text=f"The order; `{DEFAULT_SORT}` by default. The id breaks ties.",
        example="price",
    )
    q = WordsFilter(
        help_text=f"1 to {MAX_Q_LENGTH} characters, not counting blanks at the ends. Every word must match name, "
        "commodity, variety, farm, district or state. The last word may be a prefix of three letters or more.",
        example="alphonso man",
    )
    category = CategoryFilter(
        help_text="Slugs of GET /categories: products of any of them.", example=["fruits", "vegetables"]
    )
    commodity = SlugFilter(help_text="A slug of GET /categories.", example="mango")
    state = KnownSlugFilter(help_text="A slug of GET /states.", example="maharashtra")
    district = SlugFilter(help_text="A slug of GET /states.", example="ratnagiri")
    farm = FarmFilter(help_text="The id of a farm.", example=311)
    price_min = PriceFilter(help_text="Rupees, inclusive.", example="45")
    price_max = PriceFilter(help_text="Rupees, inclusive; not below price_min.", example="99.50")
    organic = FlagFilter(help_text="Only organic products, or only the others.", example=True)
    in_stock = FlagFilter(help_text="Only products in stock, or only the others.", example=True)
    fields: Any = FieldsParameter(  # the metaclass takes it away: self.fields are all fields, as in any serializer
        help_text="The members of each product. `id` is always included. `fields=name,price` also works.",
        example=["name", "price"],
    )
    ids = IdsParameter(
        help_text="Products by id, in this order. Only `fields` may accompany it. `ids=1,2` also works.",
        example=[48213, 7],
    )

    def read(self, query: QueryDict) -> Listing | Selection:
        """Raises the Problem that names every bad parameter."""
        if not query:
            return Listing()
        values, conditions = self._validated(query, reads_vocabulary=True)
        return self._wanted(values, _joined(conditions))

    def normalised(self, query: QueryDict) -> str:
        """The query as links and cache keys spell it. Raises Problem. Needs no I/O, so unknown slugs pass."""
        values, _ = self._validated(query, reads_vocabulary=False)
        return urlencode(self._wanted(values, ()).parameters())

    def _wanted(self, values: dict[str, Any], conditions: Iterable[Condition]) -> Listing | Selection:
        if "ids" in values:
            return Selection(values["ids"], values.get("fields"))
        filters = (name for name in values if isinstance(self.fields[name], Filter))
        listing = Listing(
            tuple(conditions),
            tuple((name, text) for name in filters for text in values[name]),
            values.get("sort", DEFAULT_SORT),
            values.get("limit", PAGE_SIZE),
            values.get("fields"),
            is_active=not values.get("withdrawn", False),
        )
        return _at_cursor(listing, values["cursor"]) if "cursor" in values else listing

    def _validated(
        self, query: QueryDict, *, reads_vocabulary: bool
    ) -> tuple[dict[str, Any], dict[str, Sequence[Condition]]]:
        """The values, and the conditions of the filters, by name. Without the vocabulary there are no conditions."""
        known = ["ids", "fields"] if "ids" in query else list(self.fields)
        check_parameters(query, known, [name for name, field in self.fields.items() if field.is_list])
        values: dict[str, Any] = {}
        conditions: dict[str, Sequence[Condition]] = {}
        errors: list[dict[str, Any]] = []
        for name, field in self.fields.items():
            if name not in query:
                continue
            try:
                values[name] = field.run_validation(query.getlist(name) if field.is_list else query[name])
                if reads_vocabulary and isinstance(field, Filter):
                    conditions[name] = field.conditions(values[name])
            except ValidationError as error:
                allowed = {"allowed": field.allowed()} if reads_vocabulary and field.allowed() else {}
                errors.append({"parameter": name, "detail": " ".join(map(str, error.detail)), **allowed})
        if {"price_min", "price_max"} <= values.keys() and _price(values, "price_min") > _price(values, "price_max"):
            errors.append({"parameter": "price_min", "detail": "must not be above price_max."})
        if errors:
            raise Problem("invalid-parameter", f"{errors[0]['parameter']}: {errors[0]['detail']}", errors)
        return values, conditions


# Built once: for each request, DRF would copy all fields, which takes longer than the page.
PARAMETERS = ListingParameters()


def _price(values: dict[str, Any], name: str) -> Decimal:
    return Decimal(values[name][0])


def _joined(conditions: dict[str, Sequence[Condition]]) -> Iterator[Condition]:
    """All conditions; price_min and price_max as one, which one index range serves."""
    prices: list[Any] = [*conditions.get("price_min", ()), *conditions.get("price_max", ())]
    for name, meant in conditions.items():
        if name not in {"price_min", "price_max"}:
            yield from meant
    if prices:
        yield Priced(prices[0].low, prices[-1].high)


def _at_cursor(listing: Listing, text: str) -> Listing:
    try:
        return listing.at(text)
    except (CursorError, InvalidValueError) as error:
        detail = "is not a cursor of this listing, or belongs to another sort or filter; start without one."
        raise InvalidParameter("cursor", detail, code="cursor-invalid") from error
