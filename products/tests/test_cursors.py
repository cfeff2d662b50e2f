"""Cursors are sealed: they cannot be forged, changed, or used with another query."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from dev.testing.offers import make_offers
from products.listing.cursors import Cursor, CursorError, seal, unseal

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
BOUND_TO = ["products.product", "-created_at", ""]
CURSOR = Cursor(backward=False, value="2026-01-31 08:30:00.000250+00:00", pk=7)


def is_refused(text: str, bound_to: list[str] = BOUND_TO) -> bool:
    try:
        unseal(text, bound_to)
    except CursorError:
        return True
    return False


@given(st.booleans(), st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1))
def test_sealed_cursor_opens_unchanged_and_is_deterministic(backward: bool, value: str, pk: int) -> None:
    cursor = Cursor(backward, value, pk)
    assert unseal(seal(cursor, BOUND_TO), BOUND_TO) == cursor
    assert seal(cursor, BOUND_TO) == seal(cursor, BOUND_TO)


def test_any_changed_character_is_refused() -> None:
    """All 63 other characters at every position. That includes other base64 spellings of the same bytes."""
    text = seal(CURSOR, BOUND_TO)
    forged = [text[:i] + c + text[i + 1 :] for i in range(len(text)) for c in ALPHABET if c != text[i]]
    assert len(forged) == 63 * len(text)
    assert all(is_refused(text) for text in forged)


def test_any_truncation_or_extension_is_refused() -> None:
    text = seal(CURSOR, BOUND_TO)
    assert all(is_refused(text[:length]) for length in range(len(text)))
    assert all(is_refused(text[start:]) for start in range(1, len(text)))
    assert all(is_refused(text + extra) for extra in ["=", "==", "A", "AA", "AAAA", " ", "\n", text])


@given(st.text())
def test_arbitrary_text_is_refused(text: str) -> None:
    assert is_refused(text)


@pytest.mark.parametrize(
    "other",
    [
        ["products.product", "created_at", ""],
        ["products.farm", "-created_at", ""],
        ["products.product", "-created_at", "q=x"],
        [],
    ],
)
def test_cursor_of_another_model_sort_or_filter_is_refused(other: list[str]) -> None:
    assert is_refused(seal(CURSOR, BOUND_TO), other)


def test_cursor_of_a_fallback_key_is_accepted(settings: Settings) -> None:
    settings.SECRET_KEY = "old"
    text = seal(CURSOR, BOUND_TO)
    settings.SECRET_KEY = "new"
    assert is_refused(text)
    settings.SECRET_KEY_FALLBACKS = ["other", "old"]
    assert unseal(text, BOUND_TO) == CURSOR
    assert seal(CURSOR, BOUND_TO) != text


@pytest.mark.django_db
def test_listing_answers_400_to_an_invalid_cursor(client: Client, settings: Settings) -> None:
    make_offers({"name": f"{n}"} for n in range(3))

    def next_cursor(query: str) -> Any:
        return parse_qs(urlsplit(client.get(f"/products?limit=1{query}").json()["next"]).query)["cursor"][0]

    valid = next_cursor("")
    assert client.get("/products", {"cursor": valid}).status_code == 200
    invalid = {
        "another sort": next_cursor("&sort=name"),
        "opposite sort": next_cursor("&sort=created_at"),
        "empty": "",
        "10 kB": "a" * 10_240,
        "truncated": valid[:-1],
        "padded": valid + "=",
        "two cursors": valid + valid,
        "not ASCII": "é" * 40,
        "NUL": valid + "\0",
        "a number": "25",
        "SQL": "' OR 1=1 --",
    }
    settings.SECRET_KEY = "another"
    invalid["another key"] = valid
    for name, text in invalid.items():
        response = client.get("/products", {"cursor": text})
        assert response.status_code == 400, name
        assert response.json()["code"] == "cursor-invalid", name
        assert response.json()["errors"][0]["parameter"] == "cursor"
    assert client.get("/products?cursor=%ff%fe").json()["code"] == "cursor-invalid"
