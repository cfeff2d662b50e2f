"""The filters of GET /products: the texts that each takes, and the conditions that they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from rest_framework.serializers import ValidationError

from farmlokal.openapi.parameters import JSON, whole
from products import vocabulary
from products.listing.conditions import Condition, Flag, Nothing, OneOf, Prefix, Priced, Word
from products.listing.parameters import ID, WHOLE_NUMBER, Parameter
from products.search.words import words_of

SLUG = r"[-A-Za-z0-9_]{1,120}"
PRICE = r"[0-9]{1,8}(\.[0-9]{1,2})?"
SLUG_TEXT: JSON = {"type": "string", "pattern": whole(SLUG)}
MAX_CATEGORIES = 5
MAX_Q_LENGTH = 100
MIN_PREFIX_LENGTH = 3


class FilterValue(NamedTuple):
    """The value of a filter, as links and cursors spell it and as the SQL needs it."""

    texts: tuple[str, ...]  # equal values have equal texts; more than one if the parameter is repeated
    conditions: tuple[Condition, ...]


class Filter(Parameter):
    """A parameter that narrows the listing.

    A new one needs a class here and a line in ListingParameters. If it needs a condition of its own, add that to
    conditions.py, and its values to Statistics, whose estimates would be wrong otherwise.
    """

    def to_internal_value(self, data: Any) -> FilterValue:
        raise NotImplementedError


class WordsFilter(Filter):
    schema: ClassVar[JSON] = {"type": "string", "pattern": rf"^\s*\S(?:[\s\S]{{0,{MAX_Q_LENGTH - 2}}}\S)?\s*$"}

    def to_internal_value(self, data: str) -> FilterValue:
        text = data.strip()
        if not 1 <= len(text) <= MAX_Q_LENGTH:
            raise ValidationError(f"must have 1 to {MAX_Q_LENGTH} characters besides the blanks around them.")
        words = words_of(text)
        folded = " ".join(words)
        return FilterValue((folded if 1 <= len(folded) <= MAX_Q_LENGTH else text,), tuple(_conditions(words)))


def _conditions(words: list[str]) -> Sequence[Condition]:
    """Every word, and the last one also as a prefix if it is long enough."""
    if not words:
        return [Nothing()]
    *others, last = words
    exact = dict.fromkeys(others)
    if len(last) < MIN_PREFIX_LENGTH:
        exact[last] = None
    elif not any(word.startswith(last) for word in exact):
        return [*(Word(word) for word in exact), Prefix(last)]
    return [Word(word) for word in exact]


class SlugFilter(Filter):
    """An entry of the vocabulary. No product has an unknown one."""

    schema: ClassVar[JSON] = SLUG_TEXT

    def to_internal_value(self, data: str) -> FilterValue:
        pk = self._find(data)
        return FilterValue((data,), (OneOf(self.list_name, (pk,)) if pk else Nothing(),))

    @property
    def list_name(self) -> str:
        return self.field_name or ""

    def _find(self, slug: str) -> int | None:
        if not re.fullmatch(SLUG, slug):
            raise ValidationError(f"must be the slug of a {self.list_name}.")
        return vocabulary.find(self.list_name, slug)


class KnownSlugFilter(SlugFilter):
    """An entry of a list short enough for an error to name all entries: an unknown one is refused."""

    def allowed(self) -> Sequence[str]:
        return vocabulary.cached().slugs(self.list_name)

    def _find(self, slug: str) -> int:
        if (pk := super()._find(slug)) is None:
            raise ValidationError(f"is not the slug of any {self.list_name}.")
        return pk


class CategoryFilter(KnownSlugFilter):
    """Products of any of these categories."""

    schema: ClassVar[JSON] = {"type": "array", "items": SLUG_TEXT, "minItems": 1, "maxItems": MAX_CATEGORIES}
    is_list = True

    def to_internal_value(self, data: list[str]) -> FilterValue:  # type: ignore[override]
        if len(data) > MAX_CATEGORIES:
            raise ValidationError(f"may be given up to {MAX_CATEGORIES} times.")
        ids = {slug: self._find(slug) for slug in sorted(set(data))}
        return FilterValue(tuple(ids), (OneOf(self.list_name, tuple(ids.values())),))


class FarmFilter(Filter):
    schema: ClassVar[JSON] = ID

    def to_internal_value(self, data: str) -> FilterValue:
        if not re.fullmatch(WHOLE_NUMBER, data):
            raise ValidationError("must be the id of a farm, a whole number.")
        return FilterValue((str(int(data)),), (OneOf("farm", (int(data),)),))


class PriceFilter(Filter):
    """One end of a range, inclusive."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": whole(PRICE)}

    def to_internal_value(self, data: str) -> FilterValue:
        if not re.fullmatch(PRICE, data):
            raise ValidationError("must be rupees such as 45 or 45.50, up to 99999999.99.")
        price = Decimal(data).quantize(Decimal("0.01"))
        condition = Priced(price, None) if self.field_name == "price_min" else Priced(None, price)
        return FilterValue((str(price),), (condition,))


class FlagFilter(Filter):
    schema: ClassVar[JSON] = {"type": "boolean"}

    def to_internal_value(self, data: str) -> FilterValue:
        if data not in {"true", "false"}:
            raise ValidationError("must be true or false.")
        return FilterValue((data,), (Flag(self.field_name or "", data == "true"),))
