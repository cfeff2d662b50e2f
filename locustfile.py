"""Realistic load on the catalogue: `make load`, or locust -H URL for Locust's web interface.

Most requests are for a few popular listings (Zipf); others follow pages, search, read one product, or revalidate.
Numbers of tasks are weights. Any status but 200, 304 or 429 counts as a failure.
"""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import urlsplit

import requests
from locust import FastHttpUser, between, events, task

MAX_WALK_PAGES = 8
SORTS = ("-created_at", "-created_at", "-created_at", "price", "-price", "name")

listings: list[str] = []  # most popular first
words: list[str] = []


def load_vocabulary(environment: Any, **_: Any) -> None:
    """Build listings and search words from the service's own vocabulary."""
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


events.test_start.add_listener(load_vocabulary)  # type: ignore[no-untyped-call]  # of Locust


def zipf(items: list[str]) -> str:
    """A random item; the n-th is about 1/n as likely as the first."""
    return items[int(len(items) ** random.random()) - 1]


class Visitor(FastHttpUser):
    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        self.etags: dict[str, str] = {}
        self.seen: list[int] = []

    def read(self, target: str, name: str, **headers: str) -> dict[str, Any] | None:
        with self.client.get(target, name=name, headers=headers, catch_response=True) as response:
            if response.status_code in {200, 304, 429}:
                response.success()
            if response.status_code != 200:
                return None
            self.etags[target] = response.headers["ETag"]
            document: dict[str, Any] = response.json()
            self.seen = [product["id"] for product in document.get("results", ()) if "id" in product] or self.seen
            return document

    @task(60)
    def get_listing(self) -> None:
        self.read(zipf(listings), "/products, first page", **{"Accept-Encoding": "gzip"})

    @task(10)
    def revalidate(self) -> None:
        if self.etags:
            target = random.choice(list(self.etags))
            self.read(target, "If-None-Match", **{"If-None-Match": self.etags[target]})

    @task(10)
    def search(self) -> None:
        self.read(f"/products?q={zipf(words)}", "/products?q=")

    @task(15)
    def get_product(self) -> None:
        if self.seen:
            self.read(f"/products/{random.choice(self.seen)}", "/products/{id}")

    @task(5)
    def follow_pages(self) -> None:
        target: str | None = zipf(listings)
        for _ in range(random.randint(2, MAX_WALK_PAGES)):
            page = self.read(target, "/products?cursor=") if target else None
            link = urlsplit(page["next"]) if page and page["next"] else None
            target = f"{link.path}?{link.query}" if link else None
