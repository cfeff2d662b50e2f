"""Hostile texts and JSON values: a list of well-known ones, ones that hypothesis makes, and mutations of valid ones."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning

POOL_SIZE = 300
MAX_DEPTH = 2_000
UNCHANGED_SHARE = 0.3  # so that many requests get past the checks

TEXTS = [
    *("", " ", "\0", "a\0b", "%", "%zz", "\ufeff", "\u202e", "\ud800", "\u200d", "\u0301" * 50, "🥭" * 30, "आम"),
    *("null", "true", "undefined", "NaN", "Infinity", "-Infinity", "[]", "{}", '"', "'", "\\", "`", ";", "--"),
    *("/*", "*", "İ", "ﬀ", "price,-price"),
    *("0", "-0", "-1", "+1", "1e309", "1e-400", "0x10", "1_000", "1,5", "٣", "१२", "00", "007", "1.", ".1", "1.005"),
    *("2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 400),
    *("' OR 1=1 -- ", "1; SLEEP(5)", "%' ESCAPE '!", "+mango -rice*", '"mango, ', "(((((", "@@version"),
    *("../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1/", "//evil.example", "javascript:alert(1)"),
    *("{{7*7}}", "${7*7}", "%s%s%s%n", "{0}", "<script>", "]]>", "=cmd()", "\r\nX-Evil: 1", "\x1b[31m", "a" * 5_000),
    *("2026-02-30", "0000-00-00", "9999-12-31T23:59:60Z", "-1-01-01", "24:00", "W/", 'W/"a"', "bytes=0-"),
]
NUMBERS = [0, -0.0, -1, 1, 1.5, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400]


class Values:
    """rng chooses; refill() replaces the part that hypothesis makes, by the next seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._texts: list[str] = []
        self._documents: list[Any] = []

    def refill(self) -> None:
        number = self.rng.randrange(2**32)
        self._texts = _generated(st.text(max_size=40), number)
        self._documents = _generated(_DOCUMENTS, number)

    def text(self, *valid: str) -> str:
        """Hostile, or a mutation of a valid one."""
        rng = self.rng
        if valid and rng.random() < 0.4:
            return self._mutated(rng.choice(valid))
        return rng.choice(TEXTS if rng.random() < 0.5 else self._texts)

    def _mutated(self, text: str) -> str:
        """One to three characters are inserted, replaced, doubled or cut off."""
        for _ in range(self.rng.randint(1, 3)):
            at = self.rng.randint(0, len(text))
            put = self.rng.choice(self.rng.choice(TEXTS) or " ")
            text = self.rng.choice([text[:at] + put + text[at:], text[:at] + put + text[at + 1 :], text[:at], text * 2])
        return text[:10_000]

    def document(self) -> Any:
        """A JSON value."""
        rng = self.rng
        return rng.choice([rng.choice(NUMBERS), self.text(), rng.choice(self._documents), True, None, [], {}])

    def json(self, valid: Any) -> bytes:
        """The valid JSON object with some members changed; sometimes broken as a text, too."""
        rng = self.rng
        if rng.random() < UNCHANGED_SHARE:
            return json.dumps(valid).encode()
        document: Any = dict(valid)
        for _ in range(rng.randint(0, 3)):
            name = rng.choice([*valid, self.text()])
            document[name] = self.document()
        if rng.random() < 0.3 and document:
            document.pop(rng.choice(list(document)))
        if rng.random() < 0.1:
            document = rng.choice([self.document(), [document], {"data": document}])
        encoded = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        return self._broken(encoded) if rng.random() < 0.2 else encoded

    def _broken(self, text: bytes) -> bytes:
        rng, at = self.rng, self.rng.randint(0, len(text))
        depth = rng.randint(1, MAX_DEPTH)
        return rng.choice(
            [
                *(text[:at], text + text, b"\xef\xbb\xbf" + text, text.decode("utf-8", "replace").encode("utf-16")),
                *(text[:at] + b"\xff\xfe" + text[at:], text[:at] + b"\0" + text[at:], b"[" * depth, b'{"a":' * depth),
                *(text[:-1] + b"," + text[1:], b"[" * depth + b"]" * depth, b'{"price": NaN}', b"", b"name=x&price=1"),
                text + b" " * rng.randint(0, 70_000),
            ]
        )

    def some(self, items: Sequence[str], most: int) -> list[str]:
        return [self.rng.choice(items) for _ in range(self.rng.randint(0, most))]


_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _generated(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """The same values for the same number."""
    made: list[Any] = []

    @seed(number)
    @settings(
        max_examples=POOL_SIZE,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        made.append(value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisDeprecationWarning)  # the sandbox's threads use random meanwhile
        collect()
    return made
