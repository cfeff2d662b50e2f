"""Words: the one way in which text is folded and cut, for what is indexed and for what is asked.

A word is a run of letters and digits of any script, with the marks that belong to them. Case and
accents do not count; vowel signs, viramas and other marks that tell words apart do.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_WORD_LENGTH = 200
# Through a letter; Hebrew and Arabic points; below, beside and above.
ACCENT_CLASSES = {1, *range(10, 36), *range(200, 255)}


def words_of(text: str) -> list[str]:
    """The folded words in their order, repeated ones too; a word ends at MAX_WORD_LENGTH characters."""
    return [word[:MAX_WORD_LENGTH] for word in _cut(text)]


def joined(words: Iterable[str]) -> str:
    """Each word once with a space on both sides, as Product.words holds them: " grade mango "."""
    return f" {' '.join(sorted(set(words)))} "


def _cut(text: str) -> list[str]:
    if text.isascii():
        return re.findall(r"[a-z0-9]+", text.lower())
    runs = "".join(c if _is_in_word(c) else " " for c in fold(text)).split()
    return [run for run in runs if any(c.isalnum() for c in run)]


def fold(text: str) -> str:
    """Compatibility forms become one (NFKC), case and accents go; folding twice changes nothing."""
    while (folded := _fold_once(text)) != text:
        text = folded
    return text


def _fold_once(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(c for c in decomposed if not _is_accent(c)))


@lru_cache(maxsize=10_000)
def _is_accent(character: str) -> bool:
    """Accents, and what is not seen at all: variation selectors, joiners, soft hyphens."""
    category, combining = unicodedata.category(character), unicodedata.combining(character)
    if category == "Mn":
        is_variation_selector = "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0100"
        return combining in ACCENT_CLASSES or is_variation_selector
    return category in ("Cf", "Me")


@lru_cache(maxsize=10_000)
def _is_in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
