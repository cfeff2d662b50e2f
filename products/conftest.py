"""Fixtures of the catalogue's tests."""

from __future__ import annotations

import pytest
from django.test import Client

from dev.testing.staff import make_staff
from products.listing import statistics


@pytest.fixture(autouse=True)
def _reset_statistics() -> None:
    """An earlier test's sample describes other products."""
    statistics.reset()


@pytest.fixture
def staff(client: Client) -> Client:
    """A client whose user may write products."""
    client.force_login(make_staff())
    return client
