"""Secrets in the notation of Standard Webhooks: whsec_ and base64, with or without padding."""

from __future__ import annotations

import base64
import secrets

MIN_KEY_BYTES = 24  # by Standard Webhooks


def decode(secret: str) -> bytes:
    """The HMAC key. Raises ValueError."""
    encoded = secret.removeprefix("whsec_")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes")
    return key


def generate() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
