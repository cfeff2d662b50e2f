"""manage.py reindex_search: the search index made anew from the products, while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.db.models import Count
from tqdm import tqdm

from farmlokal.mysql.transactions import atomic_with_retry
from products.models import Posting, Product
from products.page_cache import announce_write

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Command(BaseCommand):
    help = (
        "Makes each product's words and search entries what they are to be: after a category, commodity, district or "
        "state was renamed, after words are cut in another way, or after rows were changed by SQL. Nothing is missing "
        "from a search meanwhile. It may be interrupted and run again."
    )

    def handle(self, **_: Any) -> None:
        with self.bar("products", Product.objects.count()) as bar:
            Product.objects.all().reindex(bar.update)
        gone = 0
        counts = Posting.objects.values_list("term").annotate(n=Count("*")).order_by("term")
        with self.bar("entries", Posting.objects.count()) as bar:
            for term, count in list(counts):
                gone += sum(1 for entry in Posting.objects.orphans(term) if self.drop(term, *entry))
                bar.update(count)
        self.stdout.write(f"The search index is whole; {gone:,} entries without their product were dropped.")

    @atomic_with_retry
    def drop(self, term: str, created_at: Any, product_id: int) -> bool:
        """Looked at once more, under the product's lock: it may have come back."""
        list(Product.objects.select_for_update().filter(pk=product_id))
        entry = Posting.objects.filter(term=term, created_at=created_at, product_id=product_id)
        is_dropped = (created_at, product_id) in entry.orphans(term) and bool(entry.delete()[0])
        if is_dropped:
            announce_write()
        return is_dropped

    def bar(self, unit: str, total: int) -> AbstractContextManager[Any]:
        return tqdm(total=total, unit=f" {unit}", unit_scale=True, disable=None, dynamic_ncols=True)
