"""The filters of GET /products: the texts that each takes, and the conditions that they mean.

Texts are validated without I/O, so that the edge can do it too. Only conditions() may read the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

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


# A validated value, as links, cursors and cache keys spell it. Equal values have equal texts; more than one if the
# parameter is repeated.
Texts: TypeAlias = tuple[str, ...]


class Filter(Parameter):
    """A parameter that narrows the listing.

    A new one needs a class here and a line in ListingParameters. If it needs a condition of its own, add that to
    conditions.py, and its values to Statistics, whose estimates would be wrong otherwise.
    """

    def to_internal_value(self, data: Any) -> Texts:
        raise NotImplementedError

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        """The conditions that validated texts mean. Raises ValidationError for an unknown slug."""
        raise NotImplementedError


class WordsFilter(Filter):
    schema: ClassVar[JSON] = {"type": "string", "pattern": rf"^\s*\S(?:[\s\S]{{0,{MAX_Q_LENGTH - 2}}}\S)?\s*$"}

    def to_internal_value(self, data: str) -> Texts:
        text = data.strip()
        if not 1 <= len(text) <= MAX_Q_LENGTH:
            raise ValidationError(f"must have 1 to {MAX_Q_LENGTH} characters besides the blanks around them.")
        folded = " ".join(words_of(text))
        return (folded if 1 <= len(folded) <= MAX_Q_LENGTH else text,)

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        return _conditions_of(words_of(texts[0]))


def _conditions_of(words: list[str]) -> Sequence[Condition]:
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

    def to_internal_value(self, data: str) -> Texts:
        if not re.fullmatch(SLUG, data):
            raise ValidationError(f"must be the slug of a {self.list_name}.")
        return (data,)

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        pk = self._find(texts[0])
        return [OneOf(self.list_name, (pk,)) if pk else Nothing()]

    @property
    def list_name(self) -> str:
        return self.field_name or ""

    def _find(self, slug: str) -> int | None:
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

    def to_internal_value(self, data: list[str]) -> Texts:  # type: ignore[override]
        if len(data) > MAX_CATEGORIES:
            raise ValidationError(f"may be given up to {MAX_CATEGORIES} times.")
        for slug in data:
            super().to_internal_value(slug)
        return tuple(sorted(set(data)))

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        return [OneOf(self.list_name, tuple(self._find(slug) for slug in texts))]


class FarmFilter(Filter):
    schema: ClassVar[JSON] = ID

    def to_internal_value(self, data: str) -> Texts:
        if not re.fullmatch(WHOLE_NUMBER, data):
            raise ValidationError("must be the id of a farm, a whole number.")
        return (str(int(data)),)

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        return [OneOf("farm", (int(texts[0]),))]


class PriceFilter(Filter):
    """One end of a range, inclusive."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": whole(PRICE)}

    def to_internal_value(self, data: str) -> Texts:
        if not re.fullmatch(PRICE, data):
            raise ValidationError("must be rupees such as 45 or 45.50, up to 99999999.99.")
        return (str(Decimal(data).quantize(Decimal("0.01"))),)

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        price = Decimal(texts[0])
        return [Priced(price, None) if self.field_name == "price_min" else Priced(None, price)]


class FlagFilter(Filter):
    schema: ClassVar[JSON] = {"type": "boolean"}

    def to_internal_value(self, data: str) -> Texts:
        if data not in {"true", "false"}:
            raise ValidationError("must be true or false.")
        return (data,)

    def conditions(self, texts: Texts) -> Sequence[Condition]:
        return [Flag(self.field_name or "", texts[0] == "true")]
