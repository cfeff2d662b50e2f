"""The query parameters of GET /products besides its filters.

A text is taken as the contract writes it, or refused. Nothing is converted, clamped or ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework.serializers import Field, ValidationError

from farmlokal.openapi.parameters import JSON
from products.listing.listings import MAX_PAGE_SIZE, Sort
from products.models import MAX_ID, SORT_FIELDS

WHOLE_NUMBER = "[0-9]{1,18}"
ID: JSON = {"type": "integer", "minimum": 0, "maximum": MAX_ID}
MAX_IDS = 100
SORTS = [f"{sign}{field}" for field in SORT_FIELDS for sign in ("", "-")]


ALL_FIELDS = (
    *("id", "name", "slug", "description", "category", "commodity", "variety", "grade", "farm", "district", "state"),
    *("price", "currency", "unit", "stock", "in_stock", "organic", "created_at", "updated_at"),
)


class Parameter(Field[Any, Any, Any, Any]):
    """A query parameter. Its OpenAPI description is schema, help_text and example."""

    schema: ClassVar[JSON]
    is_list: ClassVar[bool] = False  # it may be repeated: to_internal_value() gets a list of texts, else one text

    def __init__(self, *, example: Any, **options: Any) -> None:
        super().__init__(required=False, **options)
        extend_schema_field({**self.schema, "examples": [example]})(self)  # type: ignore[type-var]

    def allowed(self) -> Sequence[str]:
        """All values, if they are few enough to be listed in an error."""
        return ()


class LimitParameter(Parameter):
    schema: ClassVar[JSON] = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}

    def to_internal_value(self, data: str) -> int:
        if not re.fullmatch(WHOLE_NUMBER, data) or not 1 <= int(data) <= MAX_PAGE_SIZE:
            raise ValidationError(f"must be a whole number from 1 to {MAX_PAGE_SIZE}.")
        return int(data)


class SortParameter(Parameter):
    schema: ClassVar[JSON] = {"type": "string", "enum": SORTS}

    def allowed(self) -> Sequence[str]:
        return SORTS

    def to_internal_value(self, data: str) -> Sort:
        if data not in SORTS:
            raise ValidationError(f"must be one of {', '.join(SORTS)}.")
        return Sort.parse(data)


class CursorParameter(Parameter):
    """Any text: Listing.at() decides whether it is a cursor."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": "^[-_A-Za-z0-9]+$"}

    def to_internal_value(self, data: str) -> str:
        return data


class FieldsParameter(Parameter):
    """The fields in the order of ALL_FIELDS, always with the id; None for all of them."""

    schema: ClassVar[JSON] = {"type": "array", "items": {"type": "string", "enum": list(ALL_FIELDS)}, "minItems": 1}
    is_list = True

    def allowed(self) -> Sequence[str]:
        return ALL_FIELDS

    def to_internal_value(self, data: list[str]) -> tuple[str, ...] | None:
        names = _split(data)
        if unknown := [name for name in names if name not in ALL_FIELDS]:
            raise ValidationError(f"has the unknown field {unknown[0][:100]!r}.")
        chosen = tuple(name for name in ALL_FIELDS if name in {"id", *names})
        return None if chosen == ALL_FIELDS else chosen


class IdsParameter(Parameter):
    """Each id once, in the caller's order."""

    schema: ClassVar[JSON] = {"type": "array", "items": ID, "minItems": 1, "maxItems": MAX_IDS}
    is_list = True

    def to_internal_value(self, data: list[str]) -> tuple[int, ...]:
        items = _split(data)
        if len(items) > MAX_IDS or not all(re.fullmatch(WHOLE_NUMBER, item) for item in items):
            raise ValidationError(f"must be 1 to {MAX_IDS} whole numbers: ids=1,2 or ids=1&ids=2.")
        return tuple(dict.fromkeys(map(int, items)))


def _split(texts: list[str]) -> list[str]:
    """ids=1,2 and ids=1&ids=2 mean the same, also mixed: generated clients repeat the parameter."""
    return ",".join(texts).split(",")
