"""Path converters: <id:pk>."""

from __future__ import annotations

from django.urls import register_converter


class IdConverter:
    """Up to 18 digits, which fit a BIGINT. Longer numbers are a 404."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(IdConverter, "id")
