from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from products.words import fold, joined, words_of


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
        ("क\u200dष soft\u00adhyphen", ["कष", "softhyphen"]),
        ("🥭 ++ (abc ❤️ 1️⃣ \u0301 \u093e \0", ["abc", "1"]),
        ("% _ \\ '; DROP", ["drop"]),
        ("", []),
    ],
)
def test_text_is_cut_into_folded_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_words_are_words_again_and_hold_nothing_that_a_pattern_or_json_could_mean(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert fold(fold(text)) == fold(text)
    assert not set("%_\\\"' \t\n") & set("".join(words))
    assert joined(words).split() == sorted(set(words))


def test_an_endless_word_ends() -> None:
    assert words_of("ﬃ" * 200) == ["ffi" * 66 + "ff"]
