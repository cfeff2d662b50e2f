"""Staff read times to the second, all in the same zone."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client

from integrations.models import WebhookEvent

pytestmark = pytest.mark.django_db


def test_time_has_seconds_and_zone(admin_client: Client) -> None:
    event = WebhookEvent.objects.create(webhook_id="w", type="t", payload=b"{}")
    WebhookEvent.objects.update(received_at=dt.datetime(2026, 11, 27, 12, 27, 43, tzinfo=dt.UTC))
    page = admin_client.get(f"/admin/integrations/webhookevent/{event.pk}/change/").content.decode()
    assert "27 Nov 2026, 17:57:43 IST" in page
