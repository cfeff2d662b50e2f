"""Walking a listing as a client does: link by link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

SORTS = ["-created_at", "created_at", "price", "-price", "name", "-name"]


def get_page(client: Client, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.content
    page: dict[str, Any] = response.json()
    return page


def walk(client: Client, url: str | None, link: str = "next", *, at_most: int) -> Iterator[dict[str, Any]]:
    """The pages from url on; a walk that goes on after at_most of them has no end."""
    for _ in range(at_most):
        if url is None:
            return
        page = get_page(client, url)
        yield page
        url = page[link]
    assert url is None, f"still a {link} after {at_most} pages"


def ids(page: dict[str, Any]) -> list[int]:
    return [product["id"] for product in page["results"]]
