"""Fills the table of postings from a table of products, by SQL."""

from __future__ import annotations

import MySQLdb
from MySQLdb.connections import Connection

from products.search.reindexing import BATCH_ROWS, UPSERT_POSTING
from products.seeding.bulk_loader import execute, is_unavailable

# Into an empty table, MariaDB sorts the rows before it inserts them.
INSERT_POSTINGS = """
INSERT INTO `{postings}` (term, created_at, product_id, price, name)
SELECT word.term, p.created_at, p.id, p.price, p.name
FROM `{products}` p,
     JSON_TABLE(CONCAT('["', REPLACE(TRIM(p.words), ' ', '","'), '"]'),
                '$[*]' COLUMNS (term VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) word
WHERE p.is_active AND p.id >= {first_id}
"""


def insert_postings(raw: Connection, products: str, postings: str, first_id: int) -> None:
    """Insert the postings of the products from this id on."""
    try:
        execute(raw, INSERT_POSTINGS.format(postings=postings, products=products, first_id=first_id))
    except MySQLdb.Error as error:
        if not is_unavailable(error):  # Vitess has no JSON_TABLE
            raise
        _insert_batches(raw, products, postings, first_id)


def _insert_batches(raw: Connection, products: str, postings: str, first_id: int) -> None:
    batch = (
        f"SELECT id, words, created_at, price, name FROM `{products}` WHERE is_active AND id >= %s"
        f" ORDER BY id LIMIT {BATCH_ROWS}"
    )
    while products_of_batch := execute(raw, batch, (first_id,)):
        rows = [
            (term, created_at, pk, price, name)
            for pk, words, created_at, price, name in products_of_batch
            for term in words.split()
        ]
        raw.cursor().executemany(UPSERT_POSTING.format(postings=postings), rows)
        first_id = products_of_batch[-1][0] + 1
