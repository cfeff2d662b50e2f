"""How names and queries are split into words that match each other."""

from __future__ import annotations

import sys
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from products.search.words import fold, joined, words_of

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Alphonso Mango, Grade A", ["alphonso", "mango", "grade", "a"]),
        ("d'Anjou St.-Germain 4x4", ["d", "anjou", "st", "germain", "4x4"]),
        ("CRÈME Äpfel straße ﬃ İstanbul", ["creme", "apfel", "strasse", "ffi", "istanbul"]),
        ("हिन्दी आम", ["हिन्दी", "आम"]),
        ("क\u093cलम \u0958लम", ["क\u093cलम", "क\u093cलम"]),
        ("தக்காளி টমেটো ไทยนี้ดี 한국어 が カ", ["தக்காளி", "টমেটো", "ไทยนี้ดี", "한국어", "が", "カ"]),
        ("مَرحَبا שָׁלוֹם", ["مرحبا", "שלום"]),
        ("Organic\u200bTomato soft\u00adhyphen \ufeffa\u2060b\u200ec", ["organic", "tomato", "soft", "hyphen", *"abc"]),
        ("क्\u200dष क्\u200cष क्ष", ["क्ष", "क्ष", "क्ष"]),
        ("അവന്\u200d അവന്\u200dറെ ශ්\u200dරී র\u200d্য", ["അവന്", "അവന്റെ", "ශ්රී", "র্য"]),
        ("foo\u200dbar \u200dक \u200c५\u200dक", ["foo", "bar", "क", "5", "क"]),
        ("१२३ ౨౩ ೫௬ ୭ ۴٥ \uff11\uff12 ४x४ द४", ["123", "23", "56", "7", "45", "12", "4x4", "द4"]),
        ("ক\u09c7\u09beন ক\u09cbন க\u0bc6\u0bbe க\u0bca", ["কোন", "কোন", "கொ", "கொ"]),
        ("🥭 ++ (abc ❤️ 1️⃣ \u0301 \u093e \0", ["abc", "1"]),
        ("% _ \\ '; DROP", ["drop"]),
        ("", []),
    ],
)
def test_text_is_split_into_folded_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_words_are_stable_and_free_of_special_characters(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert fold(fold(text)) == fold(text)
    assert not set("%_\\\"' \t\n") & set("".join(words))
    assert joined(words).split() == sorted(set(words))


FORMAT = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Cf"]
INDIC = [chr(n) for n in range(0x900, 0xE00) if unicodedata.category(chr(n))[0] in "LM"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "NFKD")
DIGITS = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Nd"]


@given(st.text(), st.sampled_from(sorted({*FORMAT} - {"\u200c", "\u200d"})), st.text())
def test_format_characters_separate_words(before: str, separator: str, after: str) -> None:
    assert words_of(before + separator + after) == words_of(before) + words_of(after)


@given(st.lists(st.text(INDIC, min_size=1), min_size=1), st.text("\u200c\u200d", min_size=1))
def test_joiners_inside_an_indic_word_are_ignored(parts: list[str], joiners: str) -> None:
    assert words_of(joiners.join(parts)) == words_of("".join(parts))


@given(st.text(), st.sampled_from(FORMS))
def test_equal_spellings_have_the_same_words(text: str, form: Form) -> None:
    assert words_of(unicodedata.normalize(form, text)) == words_of(text)


def test_marks_that_casefold_reorders_still_match() -> None:
    assert words_of("\u03b1\u0345\u093c") == words_of("\u03b1\u093c\u0345")


def test_decimal_digits_of_any_script_match_ascii_digits() -> None:
    assert {digit: words_of(digit) for digit in DIGITS} == {digit: [str(int(digit))] for digit in DIGITS}


def test_long_word_is_truncated() -> None:
    assert words_of("ﬃ" * 200) == ["ffi" * 66 + "ff"]
