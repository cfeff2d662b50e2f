"""Checks the rows of an import against the catalogue as it is now, and applies them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import Model

from farmlokal.http.input_serializers import FlagField
from farmlokal.http.json_bodies import JSONObject
from farmlokal.http.problems import InvalidBody
from products import services
from products.files.columns import TEXT_COLUMNS, is_same, texts_of, unescape
from products.files.tables import Row
from products.models import Product
from products.serializers import NewProductSerializer, PriceField, require_only

ID = re.compile(r"[0-9]{1,18}")
FLAGS = {"yes": True, "true": True, "no": False, "false": False}
FIELDS = {"listed": "is_active"}  # the other columns have the names of their fields
MAX_SHOWN = 50  # characters of a bad value
PRICE_ERROR = "must be rupees from 0.01 to 99999999.99, with a point before at most two decimals, and no commas."


class BadRowError(Exception):
    """Why a row cannot be imported: every bad column, its value and the reason."""


class NewRowSerializer(NewProductSerializer):
    price = PriceField(error_messages={"invalid": PRICE_ERROR})
    organic = FlagField(required=False, error_messages={"invalid": "must be yes or no."})
    listed = FlagField(source="is_active", required=False, error_messages={"invalid": "must be yes or no."})


class ChangedRowSerializer(NewRowSerializer):
    def get_fields(self) -> dict[str, Any]:
        return require_only(super().get_fields())


class Catalogue(NamedTuple):
    """What the rows of a step refer to."""

    products: Mapping[int, Product]  # those of the file's ids that exist
    commodities: Mapping[int, Mapping[str, str]]  # as in vocabulary.names


class Change(NamedTuple):
    product: Product | None  # None: a new one
    fields: dict[str, Any]  # the values to write, as for products.services; empty if nothing differs
    cells: list[list[str]]  # [column, text before, text after] of the cells that differ

    def apply(self) -> bool:
        """Whether it wrote anything. The product must be locked."""
        if self.product is None:
            services.create(**self.fields)
        elif self.fields:
            services.change_locked(self.product, **self.fields)
        return self.product is None or bool(self.fields)


def ids_of(columns: Sequence[str], rows: Sequence[Row]) -> list[int]:
    """The ids in these rows, in ascending order. Malformed ones are left out."""
    texts = [dict(zip(columns, row.cells, strict=False)).get("id", "").strip() for row in rows]
    return sorted(int(text) for text in texts if ID.fullmatch(text))


def check(columns: Sequence[str], row: Row, catalogue: Catalogue) -> Change:
    """Raises BadRowError."""
    if len(row.cells) != len(columns):
        raise BadRowError(f"has {len(row.cells)} cells, but the first row names {len(columns)} columns.")
    cells = dict(zip(columns, row.cells, strict=True))
    cells |= {column: unescape(cells[column]) for column in TEXT_COLUMNS & cells.keys()}
    product = _product_of(cells.pop("id", "").strip(), catalogue.products)
    if product is None:
        given = {column: text for column, text in cells.items() if text.strip()}
        return Change(None, _validated(NewRowSerializer, given), [[column, "", given[column]] for column in given])
    before = texts_of(vars(product), catalogue.commodities)
    given = {column: text for column, text in cells.items() if not is_same(column, text, before[column])}
    wanted = _validated(ChangedRowSerializer, given) if given else {}
    fields = {name: value for name, value in wanted.items() if _differs(product, name, value)}
    changed = [column for column in given if FIELDS.get(column, column) in fields]
    return Change(product, fields, [[column, before[column], given[column]] for column in changed])


def _product_of(text: str, products: Mapping[int, Product]) -> Product | None:
    if not text:
        return None
    if not ID.fullmatch(text):
        raise BadRowError(f'id: must be a whole number, or empty for a new product (it is "{text[:MAX_SHOWN]}").')
    try:
        return products[int(text)]
    except KeyError:
        raise BadRowError(f"id: no product has the id {text}.") from None


def _validated(serializer: type[NewRowSerializer], cells: Mapping[str, str]) -> dict[str, Any]:
    body = JSONObject([(column, _value(column, text)) for column, text in cells.items()])
    try:
        return serializer(data=body).checked()
    except InvalidBody as error:
        raise BadRowError(" ".join(_reason(one, cells) for one in error.errors)) from None


def _value(column: str, text: str) -> Any:
    """As a JSON body has it. A text that fits no type stays as it is, and the serializer refuses it."""
    if column in TEXT_COLUMNS:
        return text
    text = text.strip()
    if column in {"organic", "listed"}:
        return FLAGS.get(text.lower(), text)
    if column in {"farm", "stock"} and ID.fullmatch(text):
        return int(text)
    return text


def _reason(error: Mapping[str, Any], cells: Mapping[str, str]) -> str:
    column = error["pointer"].removeprefix("/")
    detail = error["detail"].removesuffix(".")
    if column in cells and (allowed := error.get("allowed")):
        detail = f"must be one of {', '.join(allowed)}"
    found = f' (it is "{cells[column][:MAX_SHOWN]}")' if column in cells else ""
    return f"{column}: {detail}{found}."


def _differs(product: Product, name: str, value: Any) -> bool:
    old = getattr(product, f"{name}_id" if isinstance(value, Model) else name)
    return bool(old != (value.pk if isinstance(value, Model) else value))
