"""What processes share about a value, and its form in Redis, where the value is encrypted with SECRET_KEY.

Times are by the wall clock, in seconds. It also runs while a machine sleeps.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

MAX_PAUSE_SECONDS = 300.0


@dataclass(frozen=True)
class Value:
    text: str = field(repr=False)
    expires: float  # callers may use it until then
    due: float  # time to fetch the next one
    number: int = 0  # of its fetch


@dataclass(frozen=True)
class State:
    """After a fetch."""

    number: int = 0  # of the fetch: higher than those before
    value: Value | None = None
    paused_until: float = 0.0  # no fetch before then
    failure: str = ""  # "": it succeeded
    failures: int = 0  # in a row
    early_at: float = 0.0  # see SharedValue.early_at

    @property
    def pause(self) -> float:
        """Seconds left. A clock that was set back does not prolong a pause."""
        left = self.paused_until - time.time()
        return left if 0 < left <= 2 * MAX_PAUSE_SECONDS else 0.0

    def packed(self) -> bytes:
        value = self.value and replace(self.value, text=_cipher().encrypt(self.value.text.encode()).decode())
        return orjson.dumps(replace(self, value=value))

    @classmethod
    def unpacked(cls, packed: bytes) -> State:
        """Without its value if that was encrypted with a key that this process does not have."""
        members = orjson.loads(packed or b"{}")
        if value := members.pop("value", None):
            try:
                value = Value(**value | {"text": _cipher().decrypt(value["text"]).decode()})
            except InvalidToken:
                value = None
        return cls(value=value, **members)


def _cipher() -> MultiFernet:
    return MultiFernet([_fernet(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


@lru_cache(maxsize=8)
def _fernet(secret: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=b"farmlokal values of providers").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
