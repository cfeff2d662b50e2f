"""Makes a seeded catalogue and a log of webhooks uneven: what staff look for is all among the oldest rows."""

from __future__ import annotations

from typing import Any

from django.db import connection

from products.models import Product

FARM_PRODUCTS = 9_000
PRODUCT_EVENTS = 10_000
PRODUCT_CHANGES = 10_000
WORD = "zulu"
RARE_TYPE = "product.painted"


def run(sql: str, *params: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return tuple(cursor.fetchall())


def skew_products(rows: int) -> int:
    """Give the oldest products one farm, a word of their own, and no stock; withdraw some. Return the farm's id."""
    ((farm, district, state),) = run(
        "SELECT farm_id, district_id, state_id FROM products_product ORDER BY is_active, created_at LIMIT 1"
    )
    oldest = (
        "UPDATE products_product p JOIN (SELECT id FROM products_product ORDER BY created_at LIMIT %s) o USING (id)"
    )
    run(
        f"{oldest} SET farm_id = %s, district_id = %s, state_id = %s, stock = 0",
        *(min(FARM_PRODUCTS, rows // 10), farm, district, state),
    )
    run(f"{oldest} SET words = CONCAT(words, '{WORD} ')", rows * 6 // 100)
    run(
        "INSERT INTO products_posting (term, created_at, product_id, price, name)"
        f" SELECT '{WORD}', created_at, id, price, name FROM products_product WHERE is_active = 1 AND words LIKE %s",
        f"% {WORD} %",
    )
    run(f"{oldest} SET is_active = 0", rows // 200)
    withdrawn = tuple(pk for (pk,) in run("SELECT id FROM products_product WHERE is_active = 0"))
    run("DELETE FROM products_posting WHERE product_id IN %s", withdrawn)
    run("ANALYZE TABLE products_product, products_posting")
    return int(farm)


def make_events(events: int) -> int:
    """Fill the log of 29 days. Failed events and one type are old only. Return the product with PRODUCT_EVENTS."""
    run("DELETE FROM integrations_webhookreplay")
    run("DELETE FROM integrations_webhookevent")
    columns = (
        "source, webhook_id, type, product_id, payload, headers, status, attempts, error, received_at, attempted_at"
    )
    run(
        f"INSERT INTO integrations_webhookevent (id, {columns})"
        " SELECT id, 'partner', CONCAT('msg_', MD5(id)),"
        f" IF(id < %s, '{RARE_TYPE}', ELT(1 + id %% 3, 'product.price_changed', 'product.stock_changed',"
        " 'product.withdrawn')), IF(id <= %s, 1, id), '{\"type\": \"x\"}', '{}',"
        " IF(id < %s AND id %% 2, 'failed', 'processed'), 1, '',"
        " NOW(6) - INTERVAL (%s - id) * %s SECOND, NOW(6) FROM products_product WHERE id <= %s",
        *(events // 50, PRODUCT_EVENTS, events // 20, events, 29 * 86_400 / events, events),
    )
    run("ANALYZE TABLE integrations_webhookevent")
    return 1


def make_history(changes: int) -> int:
    """Record that many changes of prices. Return the product that has PRODUCT_CHANGES of them, all among the oldest."""
    table = Product.history.model._meta
    copied = ", ".join(field.column for field in table.model.tracked_fields if field.column != "id")
    run(f"TRUNCATE {table.db_table}")
    run(
        f"INSERT INTO {table.db_table} (id, {copied}, `before`, history_date, history_user_id, history_type)"
        f" SELECT IF(id <= %s, 1, id), {copied}, '{{\"price\": \"1.00\"}}', updated_at, 'partner', '~'"
        " FROM products_product WHERE id <= %s ORDER BY id",
        *(PRODUCT_CHANGES, changes),
    )
    run(f"ANALYZE TABLE {table.db_table}")
    return 1
