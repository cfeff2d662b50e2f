"""States in lists: a word in a coloured badge with a sign, so that nothing depends on colour alone."""

from __future__ import annotations

from typing import Literal

from django.utils.html import format_html
from django.utils.safestring import SafeString

Tone = Literal["good", "warn", "bad", "quiet"]


def badge(text: str, tone: Tone) -> SafeString:
    return format_html('<span class="badge badge-{}">{}</span>', tone, text)
