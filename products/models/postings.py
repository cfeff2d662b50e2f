"""The search index: one row for each word of each listed product."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Exists, OuterRef

from products.models.collations import BINARY_COLLATION, NAME_COLLATION
from products.search.words import MAX_WORD_LENGTH

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from products.models.products import Product, ProductQuerySet


class PostingQuerySet(models.QuerySet[Any]):
    def update_product(self, before: Product | None, after: Product) -> None:
        """Bring the postings of a saved product up to date. before: its row as it was, None if it is new."""
        old = set(before.words.split()) if before and before.is_active else set()
        new = set(after.words.split()) if after.is_active else set()
        # created_at is part of the primary key: a change replaces all postings.
        common = old & new if before and before.created_at == after.created_at else set()
        if before and (removed := old - common):
            self.of(before, removed).delete()
        if before and common and (before.price, before.name) != (after.price, after.name):
            self.of(before, common).update(price=after.price, name=after.name)
        self.bulk_create(self.build(after, new - common))

    def orphans(self, term: str, listed: ProductQuerySet) -> list[tuple[Any, int]]:
        """(created_at, product id) of the term's postings without a listed product that has the word."""
        product = listed.filter(pk=OuterRef("product_id"), created_at=OuterRef("created_at"))
        product = product.filter(words__contains=f" {term} ")
        return list(self.filter(~Exists(product), term=term).values_list("created_at", "product_id"))

    def build(self, product: Product, terms: Iterable[str]) -> list[Any]:
        """Unsaved postings."""
        copies = {"product_id": product.pk, "created_at": product.created_at}
        copies |= {"price": product.price, "name": product.name}
        return [self.model(term=term, **copies) for term in sorted(terms)]

    def of(self, product: Product, terms: Iterable[str]) -> Self:
        return self.filter(term__in=sorted(terms), created_at=product.created_at, product_id=product.pk)


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
