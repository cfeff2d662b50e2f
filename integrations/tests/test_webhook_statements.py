"""The number of SQL statements of each delivery, as the server counts them.

BEGIN
INSERT event
SELECT product FOR UPDATE
UPDATE appliedversion
INSERT appliedversion   at the first version of its type only
UPDATE product
INSERT history          of the product
UPDATE postings         if the price changes; DELETE postings if the product is withdrawn
COMMIT
"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dev.testing.databases import statements_sent
from dev.testing.deliveries import Delivery, event
from dev.testing.offers import make_offer
from integrations.models import AppliedVersion
from integrations.sandbox.sender import PRICE, STOCK, WITHDRAWN
from integrations.tests.memory import reset_all
from products.models import Product

pytestmark = [pytest.mark.usefixtures("clean_webhooks"), pytest.mark.usefixtures("live_database")]


@pytest.fixture
def product() -> Product:
    return make_offer(stock=10)


def statements_of(delivery: Delivery, outcome: str) -> int:
    def send() -> None:
        assert delivery.send(Client()) == (200, outcome)

    return statements_sent(send)


KINDS: list[tuple[str, dict[str, Any], int]] = [
    (PRICE, {"price": "47.50"}, 8),
    (STOCK, {"stock": 3}, 7),
    (WITHDRAWN, {}, 8),
]


@pytest.mark.parametrize(("event_type", "data", "number"), KINDS)
def test_first_delivery_takes_at_most_nine_statements(
    product: Product, event_type: str, data: dict[str, Any], number: int
) -> None:
    AppliedVersion.objects.create(product_id=product.pk, event_type=event_type, version=1)
    other = make_offer()
    assert statements_of(Delivery(event(other.pk, event_type, 1, **data)), "processed") == number + 1
    assert statements_of(Delivery(event(product.pk, event_type, 2, **data)), "processed") == number


def test_superseded_event_takes_seven_statements(product: Product) -> None:
    # Instead of the effect: UPDATE event, with its outcome
    AppliedVersion.objects.create(product_id=product.pk, event_type=PRICE, version=1)
    assert statements_of(Delivery(event(product.pk)), "superseded") == 7


def test_event_of_unknown_product_takes_five_statements(product: Product) -> None:
    assert statements_of(Delivery(event(10**17)), "ignored") == 5


def test_duplicate_that_redis_lost_takes_six_statements(product: Product) -> None:
    # BEGIN; INSERT event, refused; ROLLBACK
    # BEGIN; SELECT event; COMMIT
    delivery = Delivery(event(product.pk))
    delivery.send(Client())
    reset_all()
    assert statements_of(delivery, "duplicate") == 6
