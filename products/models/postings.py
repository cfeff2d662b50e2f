"""The table of the search index."""

from __future__ import annotations

from django.db import models

from products.models.collations import BINARY_COLLATION, NAME_COLLATION
from products.search.postings import PostingQuerySet
from products.search.words import MAX_WORD_LENGTH


class Posting(models.Model):
    """One word of one listed product: an inverted index.

    The words of a prefix are adjacent. created_at, price and name are copies, so that the products of a word can be
    read in each order.
    """

    pk = models.CompositePrimaryKey("term", "created_at", "product_id")
    term = models.CharField(max_length=MAX_WORD_LENGTH, db_collation=BINARY_COLLATION)
    created_at = models.DateTimeField()
    product_id = models.BigIntegerField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    name = models.CharField(max_length=200, db_collation=NAME_COLLATION)

    objects = PostingQuerySet.as_manager()

    class Meta:
        # Newest first is served by the primary key.
        indexes = (
            models.Index(fields=["term", "price", "product_id"], name="posting_price"),
            models.Index(fields=["term", "name", "product_id"], name="posting_name"),
        )

    def __str__(self) -> str:
        return f"{self.term} in product {self.product_id}"
