"""The rows of an uploaded file, CSV or XLSX by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from products.files.columns import FileError, read_header
from products.files.csv_files import read_csv
from products.files.xlsx_files import MAX_XLSX_ROWS, OLE_START, ZIP_START, read_xlsx

MAX_ROWS = 100_000
MAX_ROW_CHARACTERS = 100_000


class Row(NamedTuple):
    number: int  # as a spreadsheet shows it: the header is row 1
    cells: list[str]


class Table(NamedTuple):
    columns: list[str]
    rows: Iterator[Row]  # without empty ones; raises FileError


def read_table(file: BinaryIO) -> Table:
    """Raises FileError. The rows are read while they are iterated."""
    start = file.read(4)
    file.seek(0)
    if not start:
        raise FileError("The file is empty.")
    if start == OLE_START:
        raise FileError("This is an old or encrypted Excel file. Save it as XLSX without a password.")
    is_xlsx = start == ZIP_START
    found = read_xlsx(file) if is_xlsx else read_csv(file)
    columns = read_header(next(found, []))
    return Table(columns, _rows(columns, found, MAX_XLSX_ROWS if is_xlsx else MAX_ROWS))


def _rows(columns: list[str], found: Iterator[list[str]], max_rows: int) -> Iterator[Row]:
    ids: dict[str, int] = {}
    id_at = columns.index("id") if "id" in columns else None
    count = 0
    for number, cells in enumerate(found, start=2):
        if not any(cells):
            continue
        count += 1
        if count > max_rows:
            advice = " Save it as CSV UTF-8." if max_rows < MAX_ROWS else " Split it."
            raise FileError(f"The file has more than {max_rows:,} products.{advice}")
        if sum(map(len, cells)) + len(cells) > MAX_ROW_CHARACTERS:  # a cell takes its delimiter, too
            raise FileError(f"Row {number} has more than {MAX_ROW_CHARACTERS:,} characters.")
        pk = cells[id_at].strip().lstrip("0") if id_at is not None and id_at < len(cells) else ""
        if pk and (first := ids.setdefault(pk, number)) != number:
            raise FileError(f"The rows {first} and {number} have the same id, {pk[:50]}.")
        yield Row(number, _trimmed(cells, len(columns)))
    if not count:
        raise FileError("The file has no products below the names of the columns.")


def _trimmed(cells: list[str], width: int) -> list[str]:
    """Without empty cells beyond the columns. Cells with a text stay there, and make the row a bad one."""
    while len(cells) > width and not cells[-1]:
        cells.pop()
    return cells
