"""POST /products with and without its search entries, in turns in one run, into a catalogue of ROWS products."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any
from unittest import mock

import django
from django.core.management import call_command

ROUNDS = 5
POSTS = 60


def main(rows: int) -> None:
    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # once Django is set up
    from django.test import Client  # noqa: PLC0415

    from products.managers import PostingQuerySet  # noqa: PLC0415
    from products.models import Farm  # noqa: PLC0415

    if rows:  # 0: the catalogue that is there
        call_command("migrate", verbosity=0)
        call_command("seed_products", rows, "--reset")
    user = get_user_model()
    name = f"bench-{time.time()}"
    client = Client()
    client.force_login(user.objects.create_superuser(name))
    farms = list(Farm.objects.values_list("pk", flat=True)[:500])

    def post(number: int) -> float:
        body: dict[str, Any] = {
            "name": f"Fresh Alphonso Mango, lot {number}",
            "commodity": "mango",
            "variety": "Alphonso",
            "grade": "A",
        }
        body |= {"farm": farms[number % len(farms)], "price": "120.50", "stock": 10}
        start = time.perf_counter()
        response = client.post("/products", json.dumps(body), content_type="application/json")
        seconds = time.perf_counter() - start
        assert response.status_code == 201, response.content
        return seconds * 1000

    post(0)
    ratios = []
    for turn in range(ROUNDS):
        with_entries = statistics.median(post(number) for number in range(POSTS))
        with mock.patch.object(PostingQuerySet, "move"):
            without = statistics.median(post(number) for number in range(POSTS))
        ratios.append(with_entries / without)
        print(f"{turn + 1}: {with_entries:.2f} ms with search entries, {without:.2f} ms without")
    user.objects.filter(username=name).delete()
    print(f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f} over {ROUNDS} turns)")


if __name__ == "__main__":
    main(int(sys.argv[1]))
