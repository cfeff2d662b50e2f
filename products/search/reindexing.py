"""The words of products, and rebuilding them with their postings while the service runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import QuerySet

from farmlokal.mysql.transactions import atomic_with_retry
from products.catalogue_cache import announce_write
from products.search.words import joined, words_of

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from products.models import Product
    from products.models.postings import PostingQuerySet

BATCH_ROWS = 100  # on a busy machine, 500 kept writers of their products waiting for over 3 s, and took as long in all
COLUMNS = ("words", "is_active", "created_at", "price", "name", "variety", "commodity", "farm")

# An existing row gets the product's price and name.
UPSERT_POSTING = """
INSERT INTO `{postings}` (term, created_at, product_id, price, name) VALUES (%s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE price = VALUES(price), name = VALUES(name)
"""


def searched_words(product: Product) -> str:
    """The value of Product.words: the words by which a search finds the product."""
    district = product.farm.district
    texts = (
        *(product.name, product.variety, product.commodity.name, product.farm.name),
        *(district.name, district.state.name),
    )
    return joined(words_of(" ".join(texts)))


def reindex(
    products: QuerySet[Any],
    postings: PostingQuerySet,
    progress: Callable[[int], object] = lambda _: None,
    *,
    only_stale: bool = False,
) -> None:
    """Rebuild words and postings in batches. Searches find each product all the time, by its old or its new words.

    progress gets the number of products of each batch.
    only_stale: skip products whose words are right, and trust their postings.
    """
    last = 0
    while pks := list(products.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_ROWS]):
        if chosen := _stale(products, pks) if only_stale else pks:
            reindex_batch(products, postings, chosen)
        progress(len(pks))
        last = pks[-1]


def _batch(products: QuerySet[Any], pks: Sequence[int]) -> QuerySet[Any]:
    # One statement for each table: without fresh statistics, a join reads the whole catalogue for a few products.
    return products.filter(pk__in=pks).only(*COLUMNS).prefetch_related("commodity", "farm__district__state")


def _stale(products: QuerySet[Any], pks: Sequence[int]) -> list[int]:
    return [product.pk for product in _batch(products, pks) if product.words != searched_words(product)]


@atomic_with_retry
def reindex_batch(products: QuerySet[Any], postings: PostingQuerySet, pks: Sequence[int]) -> int:
    """Rebuild the words and postings of these products, in one transaction that locks them. Returns how many changed.

    Call it before any other read of the transaction: an older snapshot could have older names.
    """
    announce_write()
    changed, rows = [], []
    # Products are locked before farms are read, so the words are never those of an older farm.
    for product in _batch(products, pks).select_for_update():
        words = searched_words(product)
        if words != product.words:
            postings.of(product, product.words.split()).delete()
            product.words = words
            changed.append(product)
        if product.is_active:
            created_at = connection.ops.adapt_datetimefield_value(product.created_at)
            values = (created_at, product.pk, product.price, product.name)
            rows += [(term, *values) for term in words.split()]
    products.bulk_update(changed, ["words"])
    with connection.cursor() as cursor:
        cursor.executemany(UPSERT_POSTING.format(postings=postings.model._meta.db_table), rows)
    return len(changed)
