"""make bench-insert: POST /products with and without its search entries, in turns, into ROWS products."""

from __future__ import annotations

import json
import statistics
import time
from unittest import mock

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client

from dev.bench.figures import save, spread
from products.models import Farm
from products.models.postings import PostingQuerySet

TURNS = 5
POSTS = 60
BODY = {"name": "", "commodity": "mango", "variety": "Alphonso", "grade": "A", "price": "120.50", "stock": 10}


def post(client: Client, farm: int, number: int) -> float:
    """Milliseconds of one POST."""
    body = BODY | {"name": f"Fresh Alphonso Mango, lot {number}", "farm": farm}
    start = time.perf_counter()
    response = client.post("/products", json.dumps(body), content_type="application/json")
    seconds = time.perf_counter() - start
    assert response.status_code == 201, response.content
    return seconds * 1000


def main(rows: int) -> None:
    if rows:  # 0: keep the catalogue as it is
        call_command("migrate", verbosity=0)
        call_command("seed_products", rows, "--reset")
    settings.RATE_LIMIT_ANONYMOUS = None  # all posts come from one address
    user = get_user_model()
    name = f"bench-{time.time()}"
    client = Client()
    client.force_login(user.objects.create_superuser(name))
    farms = list(Farm.objects.values_list("pk", flat=True)[:POSTS])

    def median_milliseconds() -> float:
        return statistics.median(post(client, farm, number) for number, farm in enumerate(farms))

    post(client, farms[0], 0)
    ratios = []
    for turn in range(TURNS):
        with_entries = median_milliseconds()
        with mock.patch.object(PostingQuerySet, "update_product"):
            without = median_milliseconds()
        ratios.append(with_entries / without)
        print(f"{turn + 1}: {with_entries:.2f} ms with search entries, {without:.2f} ms without")
    user.objects.filter(username=name).delete()
    row = ("time of a POST, with search entries / without", spread(ratios, ".2f"))
    print(f"{row[0]}: {row[1]} over {TURNS} turns")
    save("insert", f"make bench-insert ROWS={rows}", ("", f"ratio of {TURNS} turns"), [row])
