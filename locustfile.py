"""Load on the catalogue as people and programs make it: `make load`, or locust -H URL with its own interface.

Most ask for the same few listings (Zipf), some walk on through pages, search, look at one product, or ask whether
what they have is still the same. Shares are weights; every answer but a 200, a 304 or a 429 counts as a failure.
"""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import urlsplit

import requests
from locust import FastHttpUser, between, events, task

MAX_PAGES_OF_A_WALK = 8
SORTS = ("-created_at", "-created_at", "-created_at", "price", "-price", "name")

listings: list[str] = []  # the first is asked for most
words: list[str] = []


def learn(environment: Any, **_: Any) -> None:
    """What there is to ask for: the vocabulary of the service itself."""
    rng = random.Random(1)
    categories, states = (
        requests.get(environment.host + path, timeout=10).json()["results"] for path in ("/categories", "/states")
    )
    commodities = [entry["slug"] for category in categories for entry in category["commodities"]]
    chosen = [f"category={entry['slug']}" for entry in categories]
    chosen += [f"commodity={slug}" for slug in rng.sample(commodities, min(len(commodities), 150))]
    chosen += [f"{query}&state={rng.choice(states)['slug']}" for query in chosen]
    chosen += [f"state={entry['slug']}" for entry in states]
    rng.shuffle(chosen)
    listings[:] = ["/products", *(f"/products?{query}&sort={rng.choice(SORTS)}" for query in chosen)]
    words[:] = [slug.split("-")[0] for slug in commodities if len(slug) > 3]


events.test_start.add_listener(learn)  # type: ignore[no-untyped-call]


def zipf(items: list[str]) -> str:
    """The n-th is asked for a n-th as often as the first."""
    return items[int(len(items) ** random.random()) - 1]


class Visitor(FastHttpUser):
    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        self.etags: dict[str, str] = {}
        self.seen: list[int] = []

    def read(self, target: str, name: str, **headers: str) -> dict[str, Any] | None:
        with self.client.get(target, name=name, headers=headers, catch_response=True) as answer:
            if answer.status_code in {200, 304, 429}:
                answer.success()
            if answer.status_code != 200:
                return None
            self.etags[target] = answer.headers["ETag"]
            document: dict[str, Any] = answer.json()
            self.seen = [product["id"] for product in document.get("results", ()) if "id" in product] or self.seen
            return document

    @task(60)
    def look_at_a_listing(self) -> None:
        self.read(zipf(listings), "/products, first page", **{"Accept-Encoding": "gzip"})

    @task(10)
    def ask_whether_it_is_still_the_same(self) -> None:
        if self.etags:
            target = random.choice(list(self.etags))
            self.read(target, "If-None-Match", **{"If-None-Match": self.etags[target]})

    @task(10)
    def search(self) -> None:
        self.read(f"/products?q={zipf(words)}", "/products?q=")

    @task(15)
    def look_at_a_product(self) -> None:
        if self.seen:
            self.read(f"/products/{random.choice(self.seen)}", "/products/{id}")

    @task(5)
    def walk(self) -> None:
        target: str | None = zipf(listings)
        for _ in range(random.randint(2, MAX_PAGES_OF_A_WALK)):
            page = self.read(target, "/products?cursor=") if target else None
            link = urlsplit(page["next"]) if page and page["next"] else None
            target = f"{link.path}?{link.query}" if link else None
