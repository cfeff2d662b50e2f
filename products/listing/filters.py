"""The filters of the listing: what they take, and the condition that each of them is.

A value is taken exactly as the contract writes it, or refused by name; nothing is ignored or mended.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django_filters.rest_framework import DjangoFilterBackend

from farmlokal.http.problems import Problem
from products import vocabulary
from products.listing.conditions import Flag, Nothing, OneOf, Prefix, Priced, Word
from products.models import Product
from products.search.words import words_of

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.views import APIView

    from products.listing.conditions import Condition
    from products.managers import ProductQuerySet

SLUG = r"[-A-Za-z0-9_]{1,120}"
PRICE = r"[0-9]{1,8}(\.[0-9]{1,2})?"
MAX_CATEGORIES = 5
MAX_Q_LENGTH = 100
MIN_PREFIX_LENGTH = 3


class PatternField(forms.Field):
    """A value that matches a pattern from end to end; None where the parameter is not there."""

    def __init__(self, *, pattern: str, message: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pattern = re.compile(pattern)
        self.message = message

    def to_python(self, value: str | None) -> Any:
        if value is None:
            return None
        if not self.pattern.fullmatch(value):
            raise ValidationError(self.message)
        return self.read(value)

    def read(self, value: str) -> Any:
        return value


class NumberField(PatternField):
    def read(self, value: str) -> int:
        return int(value)


class PriceField(PatternField):
    def read(self, value: str) -> Decimal:
        return Decimal(value).quantize(Decimal("0.01"))


class FlagField(PatternField):
    def read(self, value: str) -> bool:
        return value == "true"


class SlugField(PatternField):
    """(slug, id) of an entry of the vocabulary. Of a short list, an unknown one is refused; else its id is None."""

    def __init__(self, *, entry: str, is_short_list: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs, pattern=SLUG, message=f"must be the slug of a {entry}.")
        self.entry = entry
        self.is_short_list = is_short_list

    def read(self, value: str) -> tuple[str, int | None]:
        pk = vocabulary.find(self.entry, value)
        if pk is None and self.is_short_list:
            allowed = vocabulary.held().slugs(self.entry)
            raise ValidationError("is not the slug of any %(entry)s.", params={"entry": self.entry, "allowed": allowed})
        return value, pk


class SlugsField(SlugField):
    """Up to MAX_CATEGORIES of them, each once and in order."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> Any:
        if len(value or ()) > MAX_CATEGORIES:
            raise ValidationError(f"may be given up to {MAX_CATEGORIES} times.")
        return sorted({super(SlugsField, self).to_python(slug) for slug in value or ()}) or None


class QueryField(forms.Field):
    """Any text at all, as (text, words). The text is the shortest way to say the same."""

    def to_python(self, value: str | None) -> tuple[str, list[str]] | None:
        if value is None:
            return None
        text = value.strip()
        if not 1 <= len(text) <= MAX_Q_LENGTH:
            raise ValidationError(f"must have 1 to {MAX_Q_LENGTH} characters besides the blanks around them.")
        words = words_of(text)
        folded = " ".join(words)
        return folded if 1 <= len(folded) <= MAX_Q_LENGTH else text, words


def taking(field_class: type[forms.Field], **arguments: Any) -> django_filters.Filter:
    filter_ = django_filters.Filter(**arguments)
    filter_.field_class = field_class
    return filter_


RUPEES = {"pattern": PRICE, "message": "must be rupees such as 45 or 45.50, up to 99999999.99."}
FLAG = {"pattern": "true|false", "message": "must be true or false."}


class ProductFilter(django_filters.FilterSet):  # type: ignore[misc]  # the library has no types
    q = taking(QueryField)
    category = taking(SlugsField, entry="category", is_short_list=True)
    commodity = taking(SlugField, entry="commodity", is_short_list=False)
    state = taking(SlugField, entry="state", is_short_list=True)
    district = taking(SlugField, entry="district", is_short_list=False)
    farm = taking(NumberField, pattern="[0-9]{1,18}", message="must be the id of a farm, a whole number.")
    price_min = taking(PriceField, **RUPEES)
    price_max = taking(PriceField, **RUPEES)
    organic = taking(FlagField, **FLAG)
    in_stock = taking(FlagField, **FLAG)

    _form_class: ClassVar[type[forms.Form] | None] = None

    class Meta:
        model = Product
        fields: ClassVar[list[str]] = []

    def get_form_class(self) -> type[forms.Form]:
        """The same for every request: the library would make it anew for each, a quarter of a page's time."""
        if ProductFilter._form_class is None:
            ProductFilter._form_class = super().get_form_class()
        return ProductFilter._form_class

    def check(self) -> None:
        """Raises a Problem that names every parameter that is not as it must be."""
        errors = [
            {"parameter": name, "detail": " ".join(error.messages)} | _allowed(error)
            for name, failures in self.form.errors.as_data().items()
            for error in failures
        ]
        value = self.form.cleaned_data
        low, high = value.get("price_min"), value.get("price_max")
        if low is not None and high is not None and low > high:
            errors.append({"parameter": "price_min", "detail": "must not be above price_max."})
        if errors:
            raise Problem("invalid-parameter", f"{errors[0]['parameter']}: {errors[0]['detail']}", errors)

    def filter_queryset(self, queryset: ProductQuerySet) -> ProductQuerySet:
        return queryset.meeting(self.conditions(), self.asked())

    def conditions(self) -> list[Condition]:
        value = self.form.cleaned_data
        found: list[Condition] = []
        if value["q"]:
            found += _words(value["q"][1])
        if value["category"]:
            found.append(OneOf("category", tuple(pk for _, pk in value["category"])))
        for name in ("commodity", "state", "district"):
            if value[name]:
                _, pk = value[name]
                found.append(OneOf(name, (pk,)) if pk else Nothing())
        if value["farm"] is not None:
            found.append(OneOf("farm", (value["farm"],)))
        if value["price_min"] is not None or value["price_max"] is not None:
            found.append(Priced(value["price_min"], value["price_max"]))
        return found + [Flag(name, value[name]) for name in ("organic", "in_stock") if value[name] is not None]

    def asked(self) -> list[tuple[str, str]]:
        """The filters in one order and one spelling, for links and cursors."""
        pairs: list[tuple[str, str]] = []
        for name, value in self.form.cleaned_data.items():
            match value:
                case None:
                    continue
                case bool():
                    pairs.append((name, str(value).lower()))
                case list():
                    pairs += [(name, slug) for slug, _ in value]
                case (text, _):
                    pairs.append((name, text))
                case _:
                    pairs.append((name, str(value)))
        return pairs


def _allowed(error: ValidationError) -> dict[str, Any]:
    allowed = (error.params or {}).get("allowed")
    return {"allowed": allowed} if allowed else {}


def _words(words: list[str]) -> list[Condition]:
    """Every word, and the last one as a prefix too, if it is long enough to be one."""
    if not words:
        return [Nothing()]
    *others, last = words
    exact = dict.fromkeys(others)
    if len(last) < MIN_PREFIX_LENGTH:
        exact[last] = None
    elif not any(word.startswith(last) for word in exact):
        return [*(Word(word) for word in exact), Prefix(last)]
    return [Word(word) for word in exact]


class ProductFilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        if request.query_params.keys().isdisjoint(ProductFilter.base_filters):
            return queryset  # a form for nothing takes a fifth of a page's time
        filterset = self.get_filterset(request, queryset, view)
        filterset.check()
        found: QuerySet[Any] = filterset.qs
        return found
