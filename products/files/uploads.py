"""Files that staff send: small ones with the form, large ones in pieces before it."""

from __future__ import annotations

from functools import partial

from django.http import HttpRequest

from products.files.columns import FileError
from products.files.storage import PIECE_BYTES, add_bytes, read_upload
from products.models import MAX_FILE_NAME_LENGTH, ProductFile


def uploaded(request: HttpRequest) -> ProductFile:
    """The file of the form, read into rows. Raises FileError."""
    sent = request.FILES.get("file")
    if upload := request.POST.get("upload"):
        file = _pending(request, upload)
    elif sent is None:
        raise FileError("Choose a file.")
    elif not sent.size:
        raise FileError("The file is empty.")
    else:
        file = _new_file(request, sent.name or "")
        for number, content in enumerate(iter(partial(sent.read, PIECE_BYTES), b"")):  # chunks() may give all at once
            add_bytes(file, number, content)
    try:
        read_upload(file)
    except FileError:
        ProductFile.objects.filter(pk=file.pk, rows=0).delete()
        raise
    return file


def add_piece(request: HttpRequest) -> ProductFile:
    """Add the body, a part of a file. The first part has no upload yet. Raises FileError."""
    upload = request.GET.get("upload", "")
    file = _pending(request, upload) if upload else _new_file(request, request.GET.get("name", ""))
    add_bytes(file, _whole(request.GET.get("number", "0")), request.body)
    return file


def _new_file(request: HttpRequest, name: str) -> ProductFile:
    return ProductFile.objects.create(name=name[:MAX_FILE_NAME_LENGTH] or "file", by=request.user.get_username())


def _pending(request: HttpRequest, upload: str) -> ProductFile:
    """The user's own upload. Raises FileError."""
    file = ProductFile.objects.filter(pk=_whole(upload), by=request.user.get_username(), rows=0).first()
    if file is None:
        raise FileError("The upload has ended. Send the file again.")
    return file


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004
        raise FileError("The number of an upload or piece is malformed.")
    return int(text)
