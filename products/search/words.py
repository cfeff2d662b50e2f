"""Text to words, by one function for the search index and for queries.

A word is a run of letters and digits of any script, with the marks that belong to them. Case and
accents do not count; vowel signs, viramas and other marks that tell words apart do. Each decimal
digit counts as 0-9. Format characters such as U+200B and the soft hyphen separate words; only the
two joiners inside an Indic word are dropped, because writers use them or leave them out.
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
INDIC = "\u0900-\u0dff"  # Devanagari to Sinhala: the scripts whose spelling uses the joiners
JOINERS = re.compile(f"(?<=[{INDIC}])[\u200c\u200d]+(?=[{INDIC}])")


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
    """Equal spellings become one (NFKC), case, accents and joiners go; folding twice changes nothing."""
    while (folded := _fold_once(text)) != text:
        text = folded
    return text


def _fold_once(text: str) -> str:
    # Before and after: casefold() changes the order of some marks, and leaves text that decomposes further.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(_plain(character) for character in decomposed)
    return unicodedata.normalize("NFKC", JOINERS.sub("", plain))


@lru_cache(maxsize=10_000)
def _plain(character: str) -> str:
    """The ASCII digit of a decimal digit; nothing for an accent."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return "" if _is_accent(character) else character


def _is_accent(character: str) -> bool:
    """Accents, variation selectors and enclosing marks."""
    category, combining = unicodedata.category(character), unicodedata.combining(character)
    is_variation_selector = "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0100"
    return category == "Me" or (category == "Mn" and (combining in ACCENT_CLASSES or is_variation_selector))


@lru_cache(maxsize=10_000)
def _is_in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
