"""Reads and writes XLSX. A workbook is read within limits, since a small file may unpack to gigabytes."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError
from xml.parsers import expat

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils.exceptions import InvalidFileException

from products.files.columns import COLUMNS, FileError

ZIP_START = b"PK\x03\x04"
OLE_START = b"\xd0\xcf\x11\xe0"
MAX_XLSX_ROWS = 20_000  # openpyxl takes about 70 microseconds a row, so this is 1.5 s of one request
MAX_UNPACKED_BYTES = 50_000_000
MAX_ELEMENTS = 1_200_000  # openpyxl takes up to 300 bytes of memory for each; a sheet of 20,000 products has 800,000
MAX_ROW_NUMBER = 200_000  # a file may skip rows, and openpyxl yields each of them
MAX_PARTS = 500
MAX_CELLS = 100  # in a row
MAX_EXACT_DIGITS = 15  # a spreadsheet rounds longer numbers
NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
ADVICE = "Save it as CSV UTF-8."
NUMBERS = ("id", "farm", "price", "stock")
BROKEN = (zipfile.BadZipFile, InvalidFileException, ParseError, zlib.error)
# What openpyxl raises for XML of another form.
MALFORMED = (LookupError, ValueError, TypeError, AttributeError, RuntimeError, EOFError, OSError)


def read_xlsx(file: BinaryIO) -> Iterator[list[str]]:
    """The cells of each row as text; of a formula, the value that the spreadsheet saved. Raises FileError."""
    try:
        _check_archive(file)
        workbook = load_workbook(file, read_only=True, data_only=True)
        if len(workbook.sheetnames) != 1 or len(workbook.worksheets) != 1:
            raise FileError(f"The workbook has {len(workbook.sheetnames)} sheets. Keep only the one with the products.")
        width = 0
        for number, row in enumerate(workbook.worksheets[0].iter_rows(), start=1):
            if number > MAX_ROW_NUMBER:
                raise FileError(f"The sheet goes beyond row {MAX_ROW_NUMBER:,}. Delete its empty rows.")
            if len(row) > MAX_CELLS:
                raise FileError(f"Row {number} has more than {MAX_CELLS} cells.")
            cells = [_text(cell) for cell in row]
            width = width or len(cells)
            yield cells + [""] * (width - len(cells))  # empty cells at the end of a row may be left out
    except (*BROKEN, *MALFORMED) as error:
        raise FileError("The file is not a readable XLSX workbook. Save it again, or as CSV UTF-8.") from error


def write_xlsx(file: BinaryIO, rows: Iterable[Sequence[str]]) -> None:
    """rows: the header, then the cells of each product in the order of COLUMNS."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("Products")
    sheet.freeze_panes = "A2"
    for number, row in enumerate(rows):
        cells = zip(COLUMNS, row, strict=True)
        sheet.append([_value(sheet, column, text) if number else text for column, text in cells])
    workbook.save(file)


def _check_archive(file: BinaryIO) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        _check_sizes(archive, parts)
    if any(part.filename.endswith("vbaProject.bin") for part in parts):
        raise FileError("The workbook has macros. Save it as XLSX without them.")


def _check_sizes(archive: zipfile.ZipFile, parts: Sequence[zipfile.ZipInfo]) -> None:
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
        raise FileError(f"The workbook unpacks to more than {MAX_UNPACKED_BYTES:,} bytes. {ADVICE}")
    left = MAX_ELEMENTS

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise FileError(f"The workbook has more than {MAX_ELEMENTS:,} cells and formats. {ADVICE}")

    for part in parts:
        parser = expat.ParserCreate()
        parser.StartElementHandler = count
        with archive.open(part) as content, contextlib.suppress(expat.ExpatError):  # pictures are no XML
            parser.ParseFile(content)


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        if cell.data_type == "e":
            raise FileError(f"Cell {cell.coordinate} has the error {value}.")
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        raise FileError(f"Cell {cell.coordinate} is a date or time. Format the column as text, and type it again.")
    return str(value)


def _value(sheet: Any, column: str, text: str) -> Any:
    if column in NUMBERS and len(text) <= MAX_EXACT_DIGITS:
        return float(text) if column == "price" else int(text)
    text = NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
    if not text.startswith("#"):
        return text
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"  # a product may have the name #N/A
    return cell
