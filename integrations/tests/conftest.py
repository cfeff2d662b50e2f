"""Fixtures that tests of webhooks share."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from dev.testing.deliveries import SECRET
from integrations.tests.memory import reset_all


@pytest.fixture
def clean_webhooks(settings: Settings) -> None:
    """Nothing is remembered, and the partner's secret is configured."""
    reset_all()
    settings.PARTNER_WEBHOOK_SECRETS = [SECRET]
