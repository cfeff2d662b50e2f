"""manage.py reindex_search: rebuild the search index while the service runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Count
from tqdm import tqdm

from farmlokal.mysql.transactions import atomic_with_retry
from products.catalogue_cache import announce_write
from products.models import Posting, Product
from products.search.reindexing import reindex


class Command(BaseCommand):
    help = (
        "Rebuilds each product's words and search entries. Run it after a commodity, district or state was renamed, "
        "after the rules for words changed, or after rows were changed by SQL. Searches stay complete meanwhile. You "
        "may interrupt it and run it again."
    )

    def handle(self, **_: Any) -> None:
        with _progress_bar("products", Product.objects.count()) as bar:
            reindex(Product.objects.all(), Posting.objects.all(), bar.update)
        deleted = 0
        counts = Posting.objects.values_list("term").annotate(n=Count("*")).order_by("term")
        with _progress_bar("entries", Posting.objects.count()) as bar:
            for term, count in list(counts):
                orphans = Posting.objects.orphans(term, Product.objects.listed())
                deleted += sum(_delete_orphan(term, created_at, product_id) for created_at, product_id in orphans)
                bar.update(count)
        self.stdout.write(f"The search index is complete. Deleted {deleted:,} entries without a product.")


@atomic_with_retry
def _delete_orphan(term: str, created_at: Any, product_id: int) -> bool:
    """Checks again under the product's lock, because the product may have been listed again."""
    list(Product.objects.select_for_update().filter(pk=product_id))
    posting = Posting.objects.filter(term=term, created_at=created_at, product_id=product_id)
    if not posting.orphans(term, Product.objects.listed()):
        return False
    announce_write()
    return bool(posting.delete()[0])


def _progress_bar(unit: str, total: int) -> AbstractContextManager[Any]:
    return tqdm(total=total, unit=f" {unit}", unit_scale=True, disable=None, dynamic_ncols=True)
