"""make bench-admin: statements, rows read and time of the admin's pages, over an uneven catalogue and log (skew.py).

The requests pass all middleware, in this process: no other process takes part but MySQL and Redis. Rows read are the
server's own count. Measured at a tenth of ROWS, too: no page may take longer because the catalogue is larger.
"""

from __future__ import annotations

import html
import re
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from tqdm import tqdm

from accounts.models import User
from dev.bench import skew
from dev.bench.figures import DASH, percentile, progress, save, table
from dev.testing.databases import rows_read
from products.listing import statistics as catalogue_statistics
from products.models import Product

REPEATS = 30
PRODUCTS = "/admin/products/product/"
LOG = "/admin/integrations/webhookevent/"
HEAD = ("page", "statements", "rows read", "p50 ms", "p95 ms")


class Cell(NamedTuple):
    statements: int
    rows_read: int
    times: list[float]  # milliseconds


def product_queries(farm: int) -> dict[str, str]:
    largest = skew.run(
        "SELECT c.slug, o.slug, s.slug, d.slug FROM products_product p"
        " JOIN products_category c ON c.id = p.category_id JOIN products_commodity o ON o.id = p.commodity_id"
        " JOIN products_state s ON s.id = p.state_id JOIN products_district d ON d.id = p.district_id LIMIT 1"
    )[0]
    queries = {"newest first": ""}
    for sort in ("created_at", "price", "-price", "name", "-name"):
        queries[f"sorted by {sort}"] = f"sort={sort}"
    for name, slug in zip(("category", "commodity", "state", "district"), largest, strict=True):
        queries[f"by {name}"] = f"{name}={slug}"
    return queries | {
        f"farm of {skew.FARM_PRODUCTS:,}, all oldest": f"farm={farm}",
        "organic": "organic=true",
        "out of stock": "in_stock=false",
        "₹45 to ₹46": "price_min=45&price_max=46",
        "one word": "q=mango",
        "one word, all oldest": f"q={skew.WORD}",
        "two words": "q=organic+tomato",
        "two words, all oldest": f"q={skew.WORD}+mango",
        "withdrawn": "withdrawn=true",
        "withdrawn, one word": "withdrawn=true&q=mango",
        "farm and organic by name": f"farm={farm}&organic=true&sort=name",
    }


def log_queries(product: int) -> dict[str, str]:
    ((day,),) = skew.run("SELECT DATE(MIN(received_at) + INTERVAL 1 DAY) FROM integrations_webhookevent")
    days = f"received_from={day}&received_until={day}"
    return {
        "newest first": "",
        "failed, all oldest": "status=failed",
        "a type, all oldest": f"type={skew.RARE_TYPE}",
        f"product of {skew.PRODUCT_EVENTS:,} events": f"product={product}",
        "an old day": days,
        "failed on an old day": f"{days}&status=failed",
        "beginning of an id": "q=msg_00",
        "failed of a type": f"status=failed&type={skew.RARE_TYPE}",
    }


def pages(client: Client, farm: int, product: int, changed: int) -> Iterator[tuple[str, str]]:
    """(name, URL) of each page; also the 40th of each list that has one."""
    yield "overview", "/admin/"
    lists = [("products", PRODUCTS, product_queries(farm)), ("webhooks", LOG, log_queries(product))]
    for title, path, queries in lists:
        for name, query in queries.items():
            yield f"{title}: {name}", f"{path}?{query}"
            if deep := page_40(client, f"{path}?{query}"):
                yield f"{title}: {name}, page 40", deep
    pk = Product.objects.latest("created_at").pk
    yield "product: form", f"{PRODUCTS}{pk}/change/"
    yield "product: new", f"{PRODUCTS}add/"
    yield f"product: history of {skew.PRODUCT_CHANGES:,}", f"{PRODUCTS}{changed}/history/"
    ((event,),) = skew.run("SELECT MAX(id) FROM integrations_webhookevent")
    yield "webhook", f"{LOG}{event}/change/"
    yield "farms", "/admin/products/farm/"
    yield "farms: two words", "/admin/products/farm/?q=sharma+organic"
    yield "jobs", "/admin/farmlokal/job/"
    yield "operations", "/admin/operations/"


def page_40(client: Client, url: str) -> str | None:
    for _ in range(39):
        link = re.search(r'rel="next" href="([^"]+)"', client.get(url).content.decode())
        if link is None:
            return None
        url = url.partition("?")[0] + html.unescape(link[1])
    return url


def measure(client: Client, url: str) -> Cell:
    def get() -> None:
        response = client.get(url)
        assert response.status_code == 200, (url, response.status_code)

    get()  # warms up
    with CaptureQueriesContext(connection) as queries:
        get()
    return Cell(len(queries), rows_read(get), [timed(get) for _ in range(REPEATS)])


def timed(work: Any) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def measure_all(rows: int) -> dict[str, Cell]:
    progress(f"{rows:,} products and webhooks")
    call_command("seed_products", rows, "--reset")
    farm, product, changed = skew.skew_products(rows), skew.make_events(rows), skew.make_history(rows)
    catalogue_statistics.reset()
    client = Client()
    client.force_login(User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)[0])
    return {name: measure(client, url) for name, url in tqdm(list(pages(client, farm, product, changed)), disable=None)}


def line(name: str, cell: Cell) -> tuple[str, ...]:
    p50, p95 = statistics.median(cell.times), percentile(cell.times, 0.95)
    return name, str(cell.statements), f"{cell.rows_read:,}", f"{p50:.0f}", f"{p95:.0f}"


def main(rows: int) -> None:
    call_command("migrate", verbosity=0)
    small = measure_all(rows // 10)
    large = measure_all(rows)
    head = (*HEAD, f"p95 ms at {rows // 10:,}")
    lines = [
        (*line(name, cell), f"{percentile(small[name].times, 0.95):.0f}" if name in small else DASH)
        for name, cell in large.items()
    ]
    print(table(head, lines))
    save("admin", f"make bench-admin ROWS={rows}", head, lines)
