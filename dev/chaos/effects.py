"""Checks that each write of the load took effect exactly once."""

from __future__ import annotations

from collections import Counter

from dev.chaos.samples import Kind
from dev.chaos.world import World
from dev.testing.mysql import query

PRODUCTS = "SELECT name FROM products_product WHERE name LIKE '{} %'"
VERSIONS = "SELECT id, version FROM products_product WHERE id IN ({})"
EVENTS = "SELECT webhook_id, product_id, status FROM integrations_webhookevent WHERE product_id IN ({})"


def miscounted(world: World) -> list[str]:
    """A line for each write that was lost or took effect twice."""
    load = world.load
    written = {sample.name for sample in load.samples if sample.kind is Kind.WRITE and sample.answer == "201"}
    accepted = {sample.name for sample in load.samples if sample.kind is Kind.WEBHOOK and sample.answer[:3] == "200"}
    numbers = ", ".join(map(str, load.plan.changed))
    with world.root() as root:
        query(root, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        names = query(root, PRODUCTS.format(load.plan.name))
        versions, events = query(root, VERSIONS.format(numbers)), query(root, EVENTS.format(numbers))
    found = [f"{count} products named {name}" for (name,), count in Counter(names).items() if count > 1]
    found += [f"{name} was lost" for name in written - {name for (name,) in names}]
    processed = Counter(product_id for _, product_id, status in events if status == "processed")
    found += [f"{webhook_id} was lost" for webhook_id in accepted - {webhook_id for webhook_id, *_ in events}]
    # Each event changes the price, and thereby increments the version of the product's row.
    return found + [
        f"{processed[product_id]} events changed product {product_id} {version - 1} times"
        for product_id, version in versions
        if processed[product_id] != version - 1
    ]
