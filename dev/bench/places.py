"""Pages without a filter at places of the catalogue, in the URLs of ours and of stock DRF."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlencode, urlsplit

from dev.bench.stacks import OURS, STOCK, Server
from products.listing.cursors import Cursor
from products.listing.listings import Listing
from products.models import Product

Targets = dict[str, list[str]]  # by server


def walk(ours: Server, count: int, step: int, cursor: str = "") -> Targets:
    """`count` pages, each of which begins `step` products after the one before."""
    pages = list(_walk(ours, count, step, cursor))
    return {OURS: [target for target, _ in pages], STOCK: [_stock_target(moment) for _, moment in pages]}


def _walk(ours: Server, count: int, step: int, cursor: str) -> Iterator[tuple[str, str]]:
    """Yield a target of ours, and the created_at of the product before it."""
    for _ in range(count):
        query = {"limit": step} | ({"cursor": cursor} if cursor else {})
        document = json.loads(ours.get(f"/products?{urlencode(query)}").body)
        (cursor,) = parse_qs(urlsplit(document["next"]).query)["cursor"]
        yield f"/products?{urlencode({'cursor': cursor})}", document["results"][-1]["created_at"]


def _stock_target(created_at: str) -> str:
    """The page after this moment, in the format of DRF's CursorPagination."""
    cursor = base64.b64encode(urlencode({"p": created_at}).encode()).decode()
    return f"/products/uncached?{urlencode({'cursor': cursor})}"


def middle_cursor(rows: int) -> str:
    """A cursor of ours in the middle of the catalogue."""
    listed = Product.objects.filter(is_active=True).order_by("-created_at", "-pk")
    row = listed.only("created_at")[rows // 2]
    return dict(Listing(cursor=Cursor(False, str(row.created_at), row.pk)).parameters())["cursor"]


def check(servers: Sequence[Server], targets: Targets) -> None:
    """Assert that both show the same products, unless some have equal moments: stock DRF skips such products."""
    count = len(targets[OURS])
    for number in (0, count // 2, count - 1):
        first, second = (json.loads(server.get(targets[server.name][number]).body)["results"] for server in servers)
        has_equal_moments = len({row["created_at"] for row in first}) < len(first)
        assert has_equal_moments or [row["id"] for row in first] == [row["id"] for row in second], number
