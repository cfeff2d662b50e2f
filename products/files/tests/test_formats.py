"""Files of spreadsheets, and files that only look like them."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest
from django.utils.text import normalize_newlines
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from products.files import tables, xlsx_files
from products.files.columns import COLUMNS, FileError, escape, unescape
from products.files.csv_files import BOM, parse_csv, write_csv
from products.files.tables import Row, read_table
from products.files.xlsx_files import write_xlsx

HEADER = "id,name,price"
HOSTILE = st.text(
    st.one_of(st.sampled_from("'=+-@\t\r\n\",;|0 "), st.characters(exclude_categories=["Cs", "Cc"])), max_size=20
)


def rows_of(content: bytes) -> list[Row]:
    return list(read_table(io.BytesIO(content)).rows)


def error_of(content: bytes) -> str:
    with pytest.raises(FileError) as raised:
        rows_of(content)
    return str(raised.value)


def workbook(*rows: Sequence[Any], sheets: int = 1) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    for _ in range(sheets - 1):
        book.create_sheet()
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def exported(pk: int, name: str, description: str = "") -> Row:
    """A product's row in the workbook of an export, read again."""
    file = io.BytesIO()
    cells = [str(pk), name, description, "mango", "", "A", "7", "12.50", "kg", "0", "no", "yes"]
    write_xlsx(file, [COLUMNS, cells])
    (row,) = rows_of(file.getvalue())
    return row


def with_part(content: bytes, name: str, part: bytes) -> bytes:
    """A workbook with one part of its archive replaced or added."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.namelist():
            if item != name:
                new.writestr(item, old.read(item))
        new.writestr(name, part)
    return output.getvalue()


@given(HOSTILE)
def test_escaped_text_is_no_formula_and_comes_back(text: str) -> None:
    assert not escape(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unescape(escape(text)) == text


@given(HOSTILE)
def test_typed_text_is_unescaped_only_where_escape_would_escape(text: str) -> None:
    assert unescape(text) == text or escape(unescape(text)) == text


@given(st.lists(HOSTILE, min_size=3, max_size=3).filter(any))
def test_csv_keeps_every_character(cells: list[str]) -> None:
    assert rows_of((BOM + write_csv([["id", "name", "description"], cells])).encode()) == [Row(2, cells)]
    assert list(parse_csv(write_csv([cells]))) == [cells]


@given(st.lists(HOSTILE, min_size=2, max_size=2).filter(any))
def test_xlsx_keeps_every_character_but_carriage_returns(texts: list[str]) -> None:
    cells = [escape(text) for text in texts]
    expected = [normalize_newlines(text) for text in cells]
    assert exported(1, *cells).cells[1:3] == expected


@pytest.mark.parametrize("text", ["#N/A", "#1 Mango", "007", "1e5", "TRUE", "2026-01-31", "12345678901234567"])
def test_xlsx_text_stays_text(text: str) -> None:
    assert exported(1, text).cells[1] == text


def test_xlsx_id_of_18_digits_is_exact() -> None:
    assert exported(123456789012345678, "Mango").cells[0] == "123456789012345678"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", BOM])
def test_csv_of_each_spreadsheet_is_read(delimiter: str, start: str) -> None:
    text = f'{start}ID{delimiter} Name \n7{delimiter}"Mango{delimiter} ""ripe""\nsweet"\n\n8{delimiter}Tomato\n'
    assert rows_of(text.encode()) == [
        Row(2, ["7", f'Mango{delimiter} "ripe"\nsweet']),
        Row(4, ["8", "Tomato"]),
    ]


def test_xlsx_numbers_and_flags_become_texts() -> None:
    content = workbook(["id", "price", "stock", "organic"], [7, 12.5, 3.0, True], [8, 5, None, False])
    assert rows_of(content) == [Row(2, ["7", "12.5", "3", "yes"]), Row(3, ["8", "5", "", "no"])]


def test_xlsx_formula_is_read_as_the_saved_value() -> None:
    content = workbook(["id", "price"], [7, 1])
    sheet = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    sheet = sheet.replace('<c r="B2" t="n"><v>1</v></c>', '<c r="B2"><f>A2*2.5</f><v>17.5</v></c>')
    assert rows_of(with_part(content, "xl/worksheets/sheet1.xml", sheet.encode())) == [Row(2, ["7", "17.5"])]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty."),
        (b"\n\n", "The first row must name the columns"),
        (b"id,price\n", "no products below"),
        (b"id,price\n,\n", "no products below"),
        (b"id\n7\n", "only the column id"),
        (b"id,cost,shade\n7,1,2\n", "Unknown columns: cost, shade. The known ones are id, name"),
        (b"id,price,,\n7,1,,\n", "no error"),
        (b"id,,price\n7,1,2\n", "Unknown columns: (empty)"),
        (b"id,Price,price\n7,1,2\n", "there twice: price"),
        (b"name,price\nMango,1\n", "Missing columns: commodity, grade, farm"),
        (b"id,price\n7,1\n8,2\n7,3\n", "The rows 2 and 4 have the same id, 7."),
        (b"id,price\n7,1\n 07 ,3\n", "The rows 2 and 3 have the same id, 7."),
        ("id,name\n7,Café\n".encode("latin1"), "not UTF-8: it has the byte 0xE9"),
        ("id,name\n7,Mango\n".encode("utf-16"), "UTF-16"),
        (b'id,name\n7,"Mango"x\n', "Row 2 is not CSV"),
        (b'id,name\n7,"Mango\n', "Row 2 is not CSV: unexpected end of data."),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not UTF-8"),
        (b"\x00\x01\x02\x03\x04", "neither CSV nor XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "old or encrypted Excel file"),
        (b"PK\x03\x04 and no more", "not a readable XLSX workbook"),
        (f"id,name\n7,{'x' * 100_001}\n".encode(), "more than 100,000 characters"),
    ],
)
def test_bad_file_is_named(content: bytes, reason: str) -> None:
    if reason == "no error":
        assert rows_of(content) == [Row(2, ["7", "1"])]
    else:
        assert reason in error_of(content)


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    assert error_of(b"id,price\n1,1\n2,1\n3,1\n") == "The file has more than 2 products. Split it."
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    monkeypatch.setattr(tables, "MAX_XLSX_ROWS", 2)
    content = workbook(["id", "price"], [1, 1], [2, 1], [3, 1])
    assert error_of(content) == "The file has more than 2 products. Save it as CSV UTF-8."


def test_row_of_countless_empty_cells_is_refused() -> None:
    assert "Row 2 has more than 100,000 characters" in error_of(b"id,price\n7,1" + b"," * 100_000 + b"x\n")


def test_row_keeps_its_own_number_of_cells() -> None:
    assert [row.cells for row in rows_of(b"id,price\n7\n8,1,,\n9,1,x\n")] == [["7"], ["8", "1"], ["9", "1", "x"]]


def test_workbook_with_two_sheets_is_refused() -> None:
    assert "has 2 sheets" in error_of(workbook(["id", "price"], [7, 1], sheets=2))


def test_workbook_with_macros_is_refused() -> None:
    content = with_part(workbook(["id", "price"], [7, 1]), "xl/vbaProject.bin", b"macro")
    assert "has macros" in error_of(content)


def test_workbook_that_unpacks_to_gigabytes_is_refused_unread() -> None:
    bomb = b"0" * (xlsx_files.MAX_UNPACKED_BYTES + 1)
    content = with_part(workbook(["id", "price"], [7, 1]), "xl/worksheets/sheet1.xml", bomb)
    assert len(content) < 100_000
    assert "unpacks to more than 50,000,000 bytes" in error_of(content)


@pytest.mark.parametrize("part", ["styles.xml", "worksheets/sheet1.xml"])
def test_workbook_of_countless_elements_is_refused_unread(part: str) -> None:
    bomb = b"<a>" + b"<c/>" * xlsx_files.MAX_ELEMENTS + b"</a>"
    content = with_part(workbook(["id", "price"], [7, 1]), f"xl/{part}", bomb)
    assert len(content) < 20_000
    assert "more than 1,200,000 cells and formats" in error_of(content)


def test_workbook_with_a_row_of_a_huge_number_is_refused() -> None:
    sheet = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    sheet += '<row r="1"><c r="A1" t="str"><v>id</v></c><c r="B1" t="str"><v>price</v></c></row>'
    sheet += '<row r="999999999999"><c r="A1"><v>7</v></c></row></sheetData></worksheet>'
    content = with_part(workbook(["id", "price"], [7, 1]), "xl/worksheets/sheet1.xml", sheet.encode())
    assert error_of(content) == "The sheet goes beyond row 200,000. Delete its empty rows."


def test_workbook_with_an_entity_bomb_is_refused() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    sheet = f'<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{entities}]><worksheet>&e11;</worksheet>'
    content = with_part(workbook(["id", "price"], [7, 1]), "xl/worksheets/sheet1.xml", sheet.encode())
    assert "not a readable XLSX workbook" in error_of(content)


def test_very_wide_row_is_refused() -> None:
    assert "has more than 100 cells." in error_of(workbook(["id", "price"], [7, 1, *[1] * 200]))


def test_workbook_of_other_parts_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<document/>")
    assert "not a readable XLSX workbook" in error_of(file.getvalue())


def test_workbook_with_an_encrypted_part_is_refused() -> None:
    content = bytearray(workbook(["id", "price"], [7, 1]))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(header)
        content[at + flags] |= 1
    assert "not a readable XLSX workbook" in error_of(bytes(content))


def test_workbook_in_an_unknown_encoding_is_refused() -> None:
    part = b'<?xml version="1.0" encoding="rot14"?><workbook/>'
    content = with_part(workbook(["id", "price"], [7, 1]), "xl/workbook.xml", part)
    assert "not a readable XLSX workbook" in error_of(content)


def test_error_and_date_cells_are_named() -> None:
    assert error_of(workbook(["id", "price"], [7, "#DIV/0!"])) == "Cell B2 has the error #DIV/0!."
    assert "Cell B2 is a date or time." in error_of(workbook(["id", "name"], [7, dt.date(2026, 1, 2)]))


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=20))
def test_damaged_workbook_raises_no_other_error(at: int, damage: bytes) -> None:
    content = bytearray(workbook(["id", "price"], [7, 1]))
    at %= len(content)
    content[at : at + len(damage)] = damage
    with contextlib.suppress(FileError):
        rows_of(bytes(content))
