"""Walking a listing page by page, as a client that follows its links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.test import Client

from dev.testing.waiting import wait_until
from farmlokal.redis.client import run
from farmlokal.redis.scripts import DELETE_KEY
from products.catalogue_cache import catalogue_cache

SORTS = ["-created_at", "created_at", "price", "-price", "name", "-name"]


def forget_pages() -> None:
    """So that the next pages are read from MySQL, not from Redis."""
    wait_until(lambda: run(DELETE_KEY, [catalogue_cache.generation_key]))


def get_page(client: Client, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.content
    page: dict[str, Any] = response.json()
    return page


def walk(
    client: Client,
    url: str | None,
    link: str = "next",
    *,
    max_pages: int,
    during_each: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Iterator[dict[str, Any]]:
    """The page at url and those after it. Fails if there are more than max_pages.

    Each page is read inside a during_each() block.
    """
    for _ in range(max_pages):
        if url is None:
            return
        with during_each():
            page = get_page(client, url)
        yield page
        url = page[link]
    assert url is None, f"more than {max_pages} pages"


def ids(page: dict[str, Any]) -> list[int]:
    return [product["id"] for product in page["results"]]
