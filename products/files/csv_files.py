"""Reads and writes CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from products.files.columns import FileError, read_header

DELIMITERS = (",", ";", "\t")
BOM = "\ufeff"  # without it, Excel takes UTF-8 for the old encoding of the country
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
MAX_HEADER_CHARACTERS = 10_000
ADVICE = 'Save it as "CSV UTF-8".'


def read_csv(file: BinaryIO) -> Iterator[list[str]]:
    """The cells of each row; the first row has the names of the columns. Raises FileError."""
    if file.read(2) in UTF_16:
        raise FileError(f"The file is in UTF-16. {ADVICE}")
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    number = 0
    try:
        delimiter = _delimiter(text.readline(MAX_HEADER_CHARACTERS))
        text.seek(0)
        for cells in csv.reader(text, delimiter=delimiter, strict=True):
            number += 1
            yield cells
    except UnicodeDecodeError as error:
        byte = f"0x{error.object[error.start]:02X}"
        raise FileError(f"The file is not UTF-8: it has the byte {byte} after row {number}. {ADVICE}") from error
    except csv.Error as error:
        raise FileError(f"Row {number + 1} is not CSV: {error}.") from error


def write_csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def parse_csv(text: str) -> Iterator[list[str]]:
    """The rows of write_csv()."""
    return csv.reader(io.StringIO(text, newline=""))


def _delimiter(line: str) -> str:
    """The delimiter that splits the header into known columns. Spreadsheets of some countries write semicolons."""
    if "\0" in line:
        raise FileError("The file is neither CSV nor XLSX.")
    for delimiter in DELIMITERS:
        try:
            header = next(csv.reader([line], delimiter=delimiter), [])
            read_header(header)
        except (FileError, csv.Error):
            continue
        return delimiter
    return max(DELIMITERS, key=line.count)
