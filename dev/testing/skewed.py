"""A catalogue with uneven values: tests look for the oldest rows, and one farm has most products."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.db import connection

from products.listing import statistics
from products.models import Product

SHARE_OF_FARM = 0.45

STATEMENTS = [
    "UPDATE products_product SET name = CONCAT('Zulu ', name), words = CONCAT(' zulu', words) WHERE id IN ({old})",
    "UPDATE products_posting SET name = CONCAT('Zulu ', name) WHERE product_id IN ({old})",
    (
        "INSERT INTO products_posting (term, created_at, product_id, price, name)"
        " SELECT 'zulu', created_at, id, price, name FROM products_product WHERE id IN ({old})"
    ),
    "UPDATE products_product SET farm_id = (SELECT MIN(id) FROM products_farm) WHERE id IN ({farm})",
    "UPDATE products_product SET is_active = 0 WHERE id IN ({withdrawn})",
    "DELETE FROM products_posting WHERE product_id IN ({withdrawn})",
]


def make_skewed_catalogue(rows: int) -> None:
    """The second oldest twentieth is withdrawn, after the oldest tenth, which has a word of its own."""
    call_command("seed_products", rows, "--reset")
    ids = list(Product.objects.order_by("created_at", "pk").values_list("pk", flat=True))
    parts = {
        "old": ids[: rows // 10],
        "withdrawn": ids[rows // 20 : rows // 10 + rows // 20],
        "farm": ids[: int(rows * SHARE_OF_FARM)],
    }
    texts: dict[str, Any] = {name: ", ".join(map(str, part)) for name, part in parts.items()}
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement.format(**texts))
    statistics.reset()
