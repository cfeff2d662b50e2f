"""Connections to MySQL that break before a commit arrives, and before its answer does. No write takes effect twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_offer
from dev.testing.proxy import Proxy
from dev.testing.servers import Answer, Server, running
from dev.testing.staff import make_staff, product_body, session_headers
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

INSERT = b"INSERT INTO `products_product`"
COMMIT = b"COMMIT"


class World(NamedTuple):
    proxy: Proxy
    server: Server
    session: dict[str, str]

    def post(self, name: str, *, key: bool) -> Answer:
        """POST a product of this name, with an Idempotency-Key or without."""
        headers = self.session | ({"Idempotency-Key": name} if key else {})
        return self.server.post("/products", json.dumps(product_body(name=name)).encode(), [*headers.items()])

    def deliver(self, delivery: Delivery) -> Answer:
        return self.server.post("/webhooks/partner", delivery.body, [*delivery.headers.items()])


@pytest.fixture(scope="module")
def world(live_database: None, database_environment: dict[str, Any]) -> Iterator[World]:
    session = session_headers(make_staff())
    with Proxy(database_environment["DATABASE_URL"]) as proxy:
        changes = {"DATABASE_URL": proxy.url, "PARTNER_WEBHOOK_SECRETS": SECRET, "WEB_CONCURRENCY": "1"}
        with running(database_environment, **changes) as server:
            yield World(proxy, server, session)


def test_write_survives_a_connection_lost_before_its_commit(world: World) -> None:
    for is_sent in (False, True):
        name = f"Lost at the insert {is_sent}"
        world.proxy.lose(INSERT, is_sent=is_sent)
        assert world.post(name, key=False).status == 201
        assert Product.objects.filter(name=name).count() == 1


@pytest.mark.parametrize(("is_sent", "count"), [(False, 0), (True, 1)])
def test_commit_without_an_answer_is_a_503(world: World, is_sent: bool, count: int) -> None:
    """The service cannot tell whether the product exists."""
    world.proxy.lose(COMMIT, is_sent=is_sent)
    assert world.post("Lost at the commit", key=False).status == 503
    assert Product.objects.filter(name="Lost at the commit").count() == count


@pytest.mark.parametrize("is_sent", [False, True])
def test_post_with_a_key_finds_out_about_its_commit(world: World, is_sent: bool) -> None:
    name = f"Found out {is_sent}"
    world.proxy.lose(COMMIT, is_sent=is_sent)
    while (answer := world.post(name, key=True)).status == 409:
        assert not is_sent  # the server still holds the lock of the lost connection
    assert (answer.status, answer.headers.get("idempotent-replayed")) == (201, "true" if is_sent else None)
    assert Product.objects.filter(name=name).count() == 1


@pytest.mark.parametrize(("is_sent", "status"), [(False, "processed"), (True, "duplicate")])
def test_webhook_finds_out_about_its_commit(world: World, is_sent: bool, status: str) -> None:
    product = make_offer(price="10.00")
    world.proxy.lose(COMMIT, is_sent=is_sent)
    delivery = Delivery(event(product.pk, price="77.00"))
    while (answer := world.deliver(delivery)).status == 409:
        assert not is_sent
    assert (answer.status, answer.json["status"]) == (200, status)
    product.refresh_from_db()
    assert (str(product.price), product.version) == ("77.00", 2)
