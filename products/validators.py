"""Rules for texts, shared by the admin and the API."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.text import slugify

# Character classes for Python and JSON Schema: control characters, line and paragraph separators, and characters that
# reorder the text around them (Unicode TR 36).
NOT_IN_LINE = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
# Like NOT_IN_LINE, but tabs and line breaks are allowed.
NOT_IN_TEXT = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"


def validate_line(text: str) -> None:
    if re.search(f"[{NOT_IN_LINE}]", text):
        raise ValidationError("must be one line, without control characters.")


def validate_text(text: str) -> None:
    if re.search(f"[{NOT_IN_TEXT}]", text):
        raise ValidationError("must have no control characters except tabs and line breaks.")


def validate_slug_source(name: str) -> None:
    """A name without letters and digits has no slug and no words to search for."""
    if not slugify(name, allow_unicode=True):
        raise ValidationError("must have a letter or a digit.")
