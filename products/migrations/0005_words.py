from __future__ import annotations

import sys

from django.db import migrations
from tqdm import tqdm

from products.models.postings import PostingQuerySet
from products.search.reindexing import reindex


def rebuild_search_index(apps, schema_editor):
    """Index products again whose words have changed, batch by batch. May be interrupted and run again."""
    products = apps.get_model("products", "Product").objects.all()
    postings = PostingQuerySet(apps.get_model("products", "Posting"))
    if count := products.count():
        sys.stdout.write(f"\n    Rebuilding the search index of {count:,} products\n   ")
        sys.stdout.flush()
        with tqdm(total=count, unit=" products", unit_scale=True, disable=None, dynamic_ncols=True) as bar:
            reindex(products, postings, bar.update, only_stale=True)


class Migration(migrations.Migration):
    dependencies = [("products", "0004_idempotency")]

    # Not atomic: one transaction for all products would hold their locks until the end.
    operations = [migrations.RunPython(rebuild_search_index, migrations.RunPython.noop, atomic=False)]
