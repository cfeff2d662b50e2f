"""Two services on one MySQL go on when their Redis master is killed for good, on a cluster and with Sentinels."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.partner import FAILURES_TO_OPEN, partner, settings_for
from dev.testing.redis_cluster import RedisCluster, redis_cluster
from dev.testing.redis_nodes import ask
from dev.testing.redis_sentinel import RedisSentinel, redis_sentinel
from dev.testing.servers import Answer, Daemon, Server, running
from dev.testing.staff import make_staff, product_body, session_headers
from dev.testing.waiting import wait_until
from farmlokal.redis.scripts import PROBE_KEY, key
from integrations.models import WebhookEvent
from integrations.sandbox.faults import Faults
from integrations.sandbox.server import Sandbox
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

T = TypeVar("T")

QUOTA = 40
# An idle machine needs 4 s. Without the right master, hits never come back.
RETURN_SECONDS = 30
SETTINGS = {
    "WEB_CONCURRENCY": "1",
    "REDIS_TIMEOUT_SECONDS": "1",  # a busy machine is not a silent Redis
    "RATE_LIMIT_ANONYMOUS": f"{QUOTA}/3600",
    "TRUSTED_PROXY_HOPS": "1",
    "PARTNER_WEBHOOK_SECRETS": SECRET,
    "PARTNER_DEADLINE_SECONDS": "10",
}
# Several threads may share a map, but not a generator.
addresses = map(lambda number: f"10.0.{number // 250}.{number % 250 + 1}", itertools.count())  # noqa: C417
pincodes = map(str, itertools.count(560001))


class Pair:
    """Two instances of the service."""

    def __init__(self, servers: list[Server], sandbox: Sandbox) -> None:
        self.servers = servers
        self.sandbox = sandbox

    def both(self, call: Callable[..., T], *arguments: Any, times: int = 1) -> list[T]:
        """Call so many times for each instance, all at once."""
        with ThreadPoolExecutor(2 * times) as callers:
            return list(callers.map(lambda server: call(server, *arguments), self.servers * times))

    def serves_hits(self) -> bool:
        return all(get(server).headers.get("x-cache") == "hit" for server in self.servers * 2)


def get(server: Server, target: str = "/products", address: str = "") -> Answer:
    """By default each call is another client's."""
    return server.request(target, X_Forwarded_For=address or next(addresses))


def quote(server: Server, product: Product) -> Answer:
    return get(server, f"/products/{product.pk}/delivery-quote?pincode={next(pincodes)}")


class Traffic:
    """Steady light traffic: each write goes to both instances at once, and again until both have accepted it."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._products = make_offers([{"name": f"Traffic {number}"} for number in range(10)])
        self._session = [*session_headers(make_staff(name=f"staff{id(self)}")).items()]
        self._farm = make_farm().pk
        self.posts: list[str] = []
        self.events: list[str] = []
        self.statuses: set[int] = set()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        stop = threading.Event()
        with ThreadPoolExecutor(3) as pool:
            kinds = [pool.submit(self._repeat, stop, each) for each in (self._get, self._post, self._webhook)]
            try:
                yield
            finally:
                stop.set()
            for kind in kinds:
                kind.result()

    def _repeat(self, stop: threading.Event, send: Any) -> None:
        for number in itertools.count():
            send(number)
            if stop.wait(0.1):
                return

    def _get(self, number: int) -> None:
        for answer in self._pair.both(get):
            self._note(answer)

    def _post(self, number: int) -> None:
        name = f"Failover {number} of {id(self)}"
        self.posts.append(name)
        body = json.dumps(product_body(name=name, farm=self._farm)).encode()
        self._send("/products", body, [*self._session, ("Idempotency-Key", name)])

    def _webhook(self, number: int) -> None:
        product = self._products[number % len(self._products)]
        sent = Delivery(event(product.pk, version=number + 1, price=f"{number + 1}.37"))
        self.events.append(sent.webhook_id)
        self._send("/webhooks/partner", sent.body, [*sent.headers.items()])

    def _send(self, target: str, body: bytes, headers: list[tuple[str, str]]) -> None:
        """409 is the answer while the other instance works on the same."""

        def deliver(server: Server) -> None:
            wait_until(lambda: self._note(server.post(target, body, [*headers, ("X-Forwarded-For", next(addresses))])))

        self._pair.both(deliver)

    def _note(self, answer: Answer) -> bool:
        self.statuses.add(answer.status)
        return answer.status != 409

    def check_effects(self) -> None:
        assert {status for status in self.statuses if status not in {200, 201, 409}} == set()
        assert sorted(Product.objects.filter(name__in=self.posts).values_list("name", flat=True)) == sorted(self.posts)
        log = WebhookEvent.objects.filter(webhook_id__in=self.events)
        assert sorted(log.values_list("webhook_id", flat=True)) == sorted(self.events)
        changed = Product.objects.filter(pk__in=[product.pk for product in self._products])
        assert sum(product.version - 1 for product in changed) == len(self.events)  # each changes a price once


@contextmanager
def two_services(environment: dict[str, str], url: str) -> Iterator[Pair]:
    make_offer()
    with ExitStack() as stack:
        sandbox = stack.enter_context(partner())
        own = environment | SETTINGS | settings_for(sandbox) | {"REDIS_URL": url}
        yield Pair([stack.enter_context(running(own)) for _ in range(2)], sandbox)


def check_shared_state(pair: Pair, master: Daemon) -> None:
    """Both instances share limits, the token and the breaker by the new master."""
    product = make_offer()
    address = next(addresses)
    answers = pair.both(partial(get, address=address), times=QUOTA)
    assert sorted(answer.status for answer in answers) == [200] * QUOTA + [429] * QUOTA

    assert {answer.status for answer in pair.both(quote, product, times=10)} == {200}
    assert pair.sandbox.calls["tokens"] == 1

    pair.sandbox.faults = Faults(error_rate=1)
    for _ in range(FAILURES_TO_OPEN):
        pair.both(quote, product)
    before = pair.sandbox.calls["quotes"]
    assert {answer.json["code"] for answer in pair.both(quote, product, times=5)} == {"partner-unavailable"}
    assert pair.sandbox.calls["quotes"] == before  # both know that it is open
    with redis.Redis.from_url(master.url) as client:
        client.hset(key("breaker", "partner"), "ends", int(client.time()[0]) * 1_000_000)
    pair.both(quote, product, times=10)
    assert pair.sandbox.calls["quotes"] == before + 1  # one probe


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path) as started:
        yield started


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[RedisSentinel]:
    with redis_sentinel(tmp_path) as started:
        yield started


def test_killed_cluster_master_is_replaced(cluster: RedisCluster, database_environment: dict[str, str]) -> None:
    with two_services(database_environment, cluster.url) as pair:
        traffic = Traffic(pair)
        with traffic.flowing():
            wait_until(pair.serves_hits)
            cluster.owner_of(PROBE_KEY).kill()
            wait_until(lambda: not pair.serves_hits())
            wait_until(pair.serves_hits, RETURN_SECONDS)
        traffic.check_effects()
        check_shared_state(pair, cluster.owner_of(PROBE_KEY))


def test_old_sentinel_master_is_not_believed(sentinel: RedisSentinel, database_environment: dict[str, str]) -> None:
    with two_services(database_environment, sentinel.url) as pair:
        traffic = Traffic(pair)
        with traffic.flowing():
            wait_until(pair.serves_hits)
            sentinel.master.kill()
            wait_until(lambda: not pair.serves_hits())
            wait_until(pair.serves_hits, RETURN_SECONDS)
            sentinel.master.start()  # it takes itself for a master, until Sentinels tell it otherwise
            wait_until(lambda: ask(sentinel.master, "ROLE")[0] == "slave" and pair.serves_hits())
        wait_until(pair.serves_hits)
        assert not scripts_run(sentinel.master)
        traffic.check_effects()
        check_shared_state(pair, sentinel.replica)


def scripts_run(server: Daemon) -> str:
    """The line of INFO that counts them, or nothing."""
    found = re.search("cmdstat_evalsha?:.*", ask(server, "INFO", "commandstats"))
    return found[0] if found else ""
