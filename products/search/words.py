"""Splits text into words, for the search index and for queries alike.

A word is a run of letters and digits of any script, with their marks. Case and accents are ignored; vowel signs,
viramas and other marks that distinguish words are not. Decimal digits of all scripts equal 0-9. Format characters
such as U+200B and the soft hyphen separate words. The two joiners inside an Indic word are dropped instead, because
their use varies between writers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

MAX_WORD_LENGTH = 200
# Through a letter; Hebrew and Arabic points; below, beside and above.
ACCENT_CLASSES = {1, *range(10, 36), *range(200, 255)}
INDIC = "\u0900-\u0dff"  # Devanagari to Sinhala: the scripts whose spelling uses the joiners
JOINERS = re.compile(f"(?<=[{INDIC}])[\u200c\u200d]+(?=[{INDIC}])")


def words_of(text: str) -> list[str]:
    """The folded words in order, with repetitions, each cut to MAX_WORD_LENGTH characters."""
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
    """Normalise spelling (NFKC) and drop case, accents and joiners. Folding is idempotent."""
    while (folded := _fold_once(text)) != text:
        text = folded
    return text


def _fold_once(text: str) -> str:
    # Twice, because casefold() reorders some marks and leaves text that decomposes further.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(_plain(character) for character in decomposed)
    return unicodedata.normalize("NFKC", JOINERS.sub("", plain))


@lru_cache(maxsize=10_000)
def _plain(character: str) -> str:
    """The ASCII digit of a decimal digit, and "" of an accent."""
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
