"""Fixtures of the catalogue's tests."""

from __future__ import annotations

import pytest

from products.listing import statistics


@pytest.fixture(autouse=True)
def _reset_statistics() -> None:
    """An earlier test's sample describes other products."""
    statistics.reset()
