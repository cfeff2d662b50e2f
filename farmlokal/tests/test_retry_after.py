from __future__ import annotations

import pytest
import time_machine

from farmlokal.outbound.client import Answer

NOW = 1_795_000_000  # Wed, 18 Nov 2026 11:06:40 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("9" * 5000, 999_999_999),
        ("Wed, 18 Nov 2026 11:07:10 GMT", 30),
        ("Wed, 18 Nov 2026 11:06:10 GMT", 0),
        ("", 0),
        ("soon", 0),
        ("-1", 0),
        ("1.5", 0),
        ("\N{ARABIC-INDIC DIGIT ONE}", 0),
        (f"Mon, 01 Jan 2024 00:00:00 +{9 * 10**19}", 0),
    ],
)
def test_retry_after_is_read_as_seconds(text: str, seconds: float) -> None:
    with time_machine.travel(NOW, tick=False):
        assert Answer(503, {"Retry-After": text}, b"").retry_after == seconds
