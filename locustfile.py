"""Realistic load on the whole service: `make load`, or locust -H URL for Locust's web interface.

Visitors read, a shop writes as an API client, and the partner sends webhooks. Numbers of tasks are weights. A status
that a task does not expect is a failure. 429 is counted under a name of its own.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

from locust import FastHttpUser, events, task

from dev.load.catalogue import Catalogue, zipf
from dev.load.traffic import CLIENT, WEBHOOK_SECRET, Token, has_quotes, path_of, signed_event, wait_time

MAX_WALK_PAGES = 8
MAX_ETAGS = 100  # of each visitor
REPLAYED_SHARE = 0.1  # of POST requests, as after a lost answer
UNCOMPRESSED = {"Accept-Encoding": "identity"}  # If-Match needs the strong ETag of this form

catalogue = Catalogue()
service_has_quotes = False


def prepare(environment: Any, **_: Any) -> None:
    global service_has_quotes  # noqa: PLW0603  # users of Locust share module state
    catalogue.read(environment.host)
    service_has_quotes = has_quotes(environment.host, catalogue)


events.test_start.add_listener(prepare)  # type: ignore[no-untyped-call]  # of Locust


class Caller(FastHttpUser):
    abstract = True

    def call(self, method: str, target: str, name: str, *expected: int, **options: Any) -> Any:
        """The response if its status is expected, else None."""
        with self.client.request(method, target, name=name, catch_response=True, **options) as response:
            if response.status_code in expected:
                response.success()
                return response
            if response.status_code == 429:
                response.request_meta["name"] = f"{name}: 429"
                response.success()
            else:
                response.failure(f"status {response.status_code}")
            return None


class Visitor(Caller):
    weight = 45
    wait_time = wait_time()

    def on_start(self) -> None:
        self.etags: dict[str, str] = {}
        self.next_page: str | None = None
        self.pages = 0

    def read(self, target: str, name: str) -> Any:
        response = self.call("GET", target, name, 200)
        if response is None:
            return None
        self.etags[target] = response.headers["ETag"]
        if len(self.etags) > MAX_ETAGS:
            del self.etags[next(iter(self.etags))]
        return response.json()

    def read_list(self, target: str, name: str) -> None:
        document = self.read(target, name)
        self.next_page = path_of(document["next"]) if document else None

    @task(45)
    def get_listing(self) -> None:
        self.pages = 0
        self.read_list(zipf(catalogue.listings), "listing, first page")

    @task(15)
    def follow_page(self) -> None:
        self.pages += 1
        if self.next_page and self.pages < MAX_WALK_PAGES:
            self.read_list(self.next_page, "listing, next page")

    @task(10)
    def search(self) -> None:
        self.read_list(f"/products?q={zipf(catalogue.words)}", "search")

    @task(5)
    def filter_by_price(self) -> None:
        self.read_list(f"{zipf(catalogue.filtered)}&price_max={random.randint(2, 20)}0", "filter by price")

    @task(15)
    def get_product(self) -> None:
        self.read(f"/products/{zipf(catalogue.products)}", "product")

    @task(10)
    def revalidate(self) -> None:
        if self.etags:
            target, etag = random.choice(list(self.etags.items()))
            self.call("GET", target, "If-None-Match", 200, 304, headers={"If-None-Match": etag})

    @task(5)
    def get_quote(self) -> None:
        if service_has_quotes:
            self.call("GET", zipf(catalogue.quotes), "delivery quote", 200)


class Shop(Caller):
    """An API client with a token. It changes known products, and withdraws its own ones."""

    weight = 3
    wait_time = wait_time(times=5)
    abstract = CLIENT is None

    def on_start(self) -> None:
        self.token = Token()
        self.own: list[int] = []

    def write(self, method: str, target: str, name: str, *expected: int, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token.current()}", **options.pop("headers", {})}
        return self.call(method, target, name, *expected, headers=headers, **options)

    @task(3)
    def create(self) -> None:
        body, headers = catalogue.new_product(), {"Idempotency-Key": uuid.uuid4().hex}
        for _ in range(2 if random.random() < REPLAYED_SHARE else 1):
            created = self.write("POST", "/products", "POST", 201, json=body, headers=headers)
        if created:
            self.own.append(created.json()["id"])

    @task(8)
    def change(self) -> None:
        target = f"/products/{random.choice(catalogue.products)}"
        read = self.write("GET", target, "product, before PATCH", 200, headers=UNCOMPRESSED)
        if read:
            body, headers = {"stock": random.randint(0, 500)}, {"If-Match": read.headers["ETag"]}
            self.write("PATCH", target, "PATCH", 200, 412, json=body, headers=headers)

    @task(1)
    def withdraw(self) -> None:
        if self.own:
            self.write("DELETE", f"/products/{self.own.pop(0)}", "DELETE", 204)


class Partner(Caller):
    weight = 2
    wait_time = wait_time(times=5)
    abstract = WEBHOOK_SECRET is None

    @task
    def send_event(self) -> None:
        body, headers = signed_event(catalogue.products)
        for _ in range(2 if random.random() < REPLAYED_SHARE else 1):
            self.call("POST", "/webhooks/partner", "webhook", 200, data=body, headers=headers)
