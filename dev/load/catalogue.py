"""What the service of a load test has to offer: queries of its own catalogue, the most popular first."""

from __future__ import annotations

import random
from typing import Any, TypeVar

import requests

SORTS = ("-created_at", "-created_at", "-created_at", "price", "-price", "name")
COMMODITIES, PRODUCTS, PINCODES = 150, 100, 10
QUOTED_PRODUCTS = 20
TIMEOUT_SECONDS = 10

Item = TypeVar("Item")


def zipf(items: list[Item]) -> Item:
    """A random item; the n-th is about 1/n as likely as the first."""
    return items[int(len(items) ** random.random()) - 1]


class Catalogue:
    """Targets that exist, the most popular first; the same in each run on the same catalogue."""

    listings: list[str]
    filtered: list[str]  # listings with a query
    words: list[str]
    products: list[int]
    quotes: list[str]

    def read(self, host: str) -> None:
        rng = random.Random(1)
        categories, states, page = (
            requests.get(host + path, timeout=TIMEOUT_SECONDS).json()["results"]
            for path in ("/categories", "/states", f"/products?limit={PRODUCTS}&sort=created_at")
        )
        slugs = [entry["slug"] for category in categories for entry in category["commodities"]]
        chosen = [f"category={entry['slug']}" for entry in categories]
        chosen += [f"commodity={slug}" for slug in rng.sample(slugs, min(len(slugs), COMMODITIES))]
        chosen += [f"{query}&state={rng.choice(states)['slug']}" for query in chosen]
        chosen += [f"state={entry['slug']}" for entry in states]
        rng.shuffle(chosen)
        self.listings = ["/products", *(f"/products?{query}&sort={rng.choice(SORTS)}" for query in chosen)]
        self.filtered = self.listings[1:]
        self.words = [slug.split("-")[0] for slug in slugs if len(slug) > 3]
        self.products = [product["id"] for product in page]
        self._examples = [{"commodity": row["commodity"]["slug"], "farm": row["farm"]["id"]} for row in page]
        pincodes = [str(rng.randint(110_000, 850_000)) for _ in range(PINCODES)]
        self.quotes = [
            f"/products/{pk}/delivery-quote?pincode={code}"
            for pk in self.products[:QUOTED_PRODUCTS]
            for code in pincodes
        ]

    def new_product(self) -> dict[str, Any]:
        """The body of a POST."""
        price = f"{random.randint(10, 500)}.00"
        return {"name": "Sample of a load test", "grade": "A", "price": price, **random.choice(self._examples)}
