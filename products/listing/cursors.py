"""Page cursors: encrypted and authenticated positions in an order.

AES-SIV (RFC 5297) is deterministic: equal positions have equal texts, so cached pages have one key. A cursor is bound
to its model, sort and filters, and does not open with others. The keys are SECRET_KEY and, for reading only,
SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.conf import settings
from django.utils.crypto import salted_hmac

FORMAT = "1"


class CursorError(ValueError):
    """The text is not a cursor of this listing."""


class Cursor(NamedTuple):
    """The rows after (value, pk) in the order, or before it if backward is set."""

    backward: bool
    value: str
    pk: int


def seal(cursor: Cursor, bound_to: Sequence[str]) -> str:
    sealed = _cipher(settings.SECRET_KEY).encrypt(orjson.dumps(list(cursor)), _associated(bound_to))
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(text: str, bound_to: Sequence[str]) -> Cursor:
    """Raises CursorError for any text that seal() did not return for the same bound_to."""
    try:
        sealed = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise CursorError from error
    # Base64 has several texts for the same bytes. A cursor has one.
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        raise CursorError
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            return Cursor(*orjson.loads(_cipher(secret).decrypt(sealed, _associated(bound_to))))
        except InvalidTag:
            continue
    raise CursorError


def _associated(bound_to: Sequence[str]) -> list[bytes]:
    return [part.encode("utf-8", "surrogatepass") for part in (FORMAT, *bound_to)]


@lru_cache(maxsize=16)
def _cipher(secret: str) -> AESSIV:
    return AESSIV(salted_hmac("farmlokal.cursors", "key", secret, algorithm="sha512").digest())
