"""The columns of files that staff import and export, and the text of each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.text import normalize_newlines

COLUMNS = (
    *("id", "name", "description", "commodity", "variety", "grade"),
    *("farm", "price", "unit", "stock", "organic", "listed"),
)
TEXT_COLUMNS = frozenset({"name", "description", "variety"})  # of any characters; the others are slugs and numbers
NEEDED = ("name", "commodity", "grade", "farm", "price")  # by a new product
ALIASES = {"is_active": "listed"}
YES, NO = "yes", "no"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MAX_NAMED = 5  # in one error


class FileError(Exception):
    """Why a file as a whole cannot be imported, for staff."""


def escape(text: str) -> str:
    """With an apostrophe before a text that a spreadsheet would take for a formula. unescape() takes it away."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) or unescape(text) != text else text


def unescape(text: str) -> str:
    """A text that really begins with an apostrophe keeps it, unless the next character is one or starts a formula."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*FORMULA_STARTS, "'")) else text


def texts_of(row: Mapping[str, Any], commodities: Mapping[int, Mapping[str, str]]) -> dict[str, str]:
    """The cells of a product, not escaped. row: its columns. commodities: as in vocabulary.names."""
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "description": row["description"],
        "commodity": commodities[row["commodity_id"]]["slug"],
        "variety": row["variety"],
        "grade": row["grade"],
        "farm": str(row["farm_id"]),
        "price": str(row["price"]),
        "unit": row["unit"],
        "stock": str(row["stock"]),
        "organic": YES if row["organic"] else NO,
        "listed": YES if row["is_active"] else NO,
    }


def is_same(column: str, text: str, other: str) -> bool:
    """Spreadsheets and browsers replace line breaks. That alone changes nothing."""
    if column in TEXT_COLUMNS:
        return normalize_newlines(text) == normalize_newlines(other)
    return text.strip() == other


def read_header(cells: Sequence[str]) -> list[str]:
    """The columns of a file, by the names in its first row. Raises FileError."""
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    columns = [ALIASES.get(name.lower(), name.lower()) for name in names]
    if not any(column in COLUMNS for column in columns):
        raise FileError(f"The first row must name the columns: {', '.join(COLUMNS)}.")
    if unknown := [name or "(empty)" for name, column in zip(names, columns, strict=True) if column not in COLUMNS]:
        raise FileError(f"Unknown columns: {_some(unknown)}. The known ones are {', '.join(COLUMNS)}.")
    if repeated := sorted({column for column in columns if columns.count(column) > 1}):
        raise FileError(f"Columns that are there twice: {_some(repeated)}.")
    missing = [column for column in NEEDED if column not in columns]
    if "id" not in columns and missing:
        raise FileError(f"Missing columns: {', '.join(missing)}. Without the column id, every row is a new product.")
    if columns == ["id"]:
        raise FileError("The file has only the column id, so it changes nothing.")
    return columns


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name[:50] for name in names[:MAX_NAMED])
    return f"{shown} and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else shown
