"""Plausible queries of a catalogue: filters, words, sorts and limits taken from its own products."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from dev.bench.stacks import Server

SORTS = ("created_at", "price", "-price", "name", "-name")
IDS_PER_REQUEST = 100


def random_products(server: Server, rows: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Products at random, so that values which many products share come up often."""
    while True:
        ids = rng.sample(range(1, rows + 1), IDS_PER_REQUEST)
        document = json.loads(server.get(f"/products?{urlencode({'ids': ','.join(map(str, ids))})}").body)
        yield from document["results"]


def filters(product: dict[str, Any], rng: random.Random) -> dict[str, str]:
    """Query parameters that this product matches."""
    words = re.findall(r"\w{3,}", product["name"]) or [product["commodity"]["name"]]
    price = float(product["price"])
    kinds: list[tuple[int, dict[str, str]]] = [
        (20, {"commodity": product["commodity"]["slug"]}),
        (15, {"category": product["category"]["slug"]}),
        (10, {"state": product["state"]["slug"]}),
        (10, {"district": product["district"]["slug"]}),
        (10, {"commodity": product["commodity"]["slug"], "state": product["state"]["slug"]}),
        (5, {"category": product["category"]["slug"], "district": product["district"]["slug"]}),
        (5, {"farm": str(product["farm"]["id"])}),
        (15, {"q": words[0].lower()}),
        (5, {"q": " ".join(words[:2])}),
        (5, {"q": words[0], "state": product["state"]["slug"]}),
        (10, {"category": product["category"]["slug"], "price_max": f"{price * 1.5:.2f}"}),
        (5, {"price_min": f"{price * 0.8:.2f}", "price_max": f"{price * 1.2:.2f}"}),
    ]
    (chosen,) = rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
    return chosen


def distinct_targets(server: Server, rows: int, count: int) -> list[str]:
    """The plain listing and count - 1 queries; the same in each run on the same catalogue."""
    rng = random.Random(1)
    targets = {"/products": None}
    for product in random_products(server, rows, rng):
        query = filters(product, rng)
        if rng.random() < 0.1:
            query["organic"] = "true"
        if rng.random() < 0.1:
            query["in_stock"] = "true"
        if rng.random() < 0.4:
            query["sort"] = rng.choice(SORTS)
        if rng.random() < 0.2:
            query["limit"] = rng.choice(("10", "50", "100"))
        targets[f"/products?{urlencode(query)}"] = None
        if len(targets) == count:
            break
    return list(targets)
