"""The pieces of files in MySQL: the bytes of an upload, the rows that were read from it, and the text of an export."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import orjson

from farmlokal.mysql.transactions import atomic_with_retry
from products.files.columns import FileError
from products.files.csv_files import BOM, parse_csv, write_csv
from products.files.tables import Row, read_table
from products.models import FilePiece, ProductFile

MAX_UPLOAD_BYTES = 32 * 1024 * 1024
PIECE_BYTES = 512 * 1024
LEVEL = 1  # of compression: a higher one takes longer and saves little


def add_bytes(file: ProductFile, number: int, content: bytes) -> None:
    """A piece of an upload, 0 for the first. It may be sent again. Raises FileError."""
    if file.rows:
        raise FileError("The file is complete.")
    if not 0 < len(content) <= PIECE_BYTES:
        raise FileError(f"A piece must have 1 to {PIECE_BYTES:,} bytes.")
    if number * PIECE_BYTES >= MAX_UPLOAD_BYTES:
        raise FileError(f"The file has more than {MAX_UPLOAD_BYTES:,} bytes.")
    FilePiece.objects.update_or_create(file=file, number=number, defaults={"content": content})


@atomic_with_retry
def read_upload(file: ProductFile) -> None:
    """Replace the uploaded bytes by the rows in them. Raises FileError."""
    if not ProductFile.objects.select_for_update().filter(pk=file.pk, rows=0).exists():
        raise FileError("The file was sent already.")  # by another request with the same form
    numbers = list(file.pieces.order_by("number").values_list("number", flat=True))
    if numbers != list(range(len(numbers))):
        raise FileError("Pieces of the file are missing. Send it again.")
    with tempfile.TemporaryFile() as upload:
        for content in _contents(file):
            upload.write(content)
        upload.seek(0)
        table = read_table(upload)
        file.pieces.all().delete()
        file.rows = 0
        for rows in _chunks(list(row) for row in table.rows):
            _add(file, file.rows, orjson.dumps(rows))
            file.rows += len(rows)
    file.columns = table.columns
    file.save()


def rows_from(file: ProductFile, start: int, count: int) -> list[Row]:
    """Up to `count` rows, and at least one. start: how many rows come before them."""
    piece = file.pieces.filter(number__lte=start).order_by("-number")[0]
    rows = orjson.loads(zlib.decompress(piece.content))[start - piece.number :]
    return [Row(number, cells) for number, cells in rows[:count]]


def add_export_rows(file: ProductFile, start: int, rows: Iterable[Sequence[str]]) -> None:
    """start: how many rows come before them."""
    for chunk in _chunks(rows):
        _add(file, start, write_csv(chunk).encode())
        start += len(chunk)


def save_csv(file: ProductFile, header: Sequence[str], output: IO[bytes]) -> None:
    output.write((BOM + write_csv([header])).encode())
    for content in _contents(file):
        output.write(zlib.decompress(content))


def export_rows(file: ProductFile) -> Iterator[list[str]]:
    for content in _contents(file):
        yield from parse_csv(zlib.decompress(content).decode())


def _chunks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Rows that fill a piece, or nearly. A row is smaller than the rest of the permitted megabyte."""
    chunk: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(orjson.dumps(row))
        if size > PIECE_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _add(file: ProductFile, number: int, content: bytes) -> None:
    FilePiece.objects.create(file=file, number=number, content=zlib.compress(content, LEVEL))


def _contents(file: ProductFile) -> Iterator[bytes]:
    """One piece at a time: together they may exceed the memory of a worker."""
    number = -1
    while piece := file.pieces.filter(number__gt=number).order_by("number").first():
        number = piece.number
        yield bytes(piece.content)
