"""KeysetPagination serves any viewset by its attributes."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from dev.testing.offers import make_farm
from products.listing.pagination import KeysetPagination
from products.models import Farm, State

pytestmark = pytest.mark.django_db


class FarmPagination(KeysetPagination):
    sort_fields = ("name", "district")
    default_sort = "name"
    page_size = 2


def walk(paginator: type[KeysetPagination], queryset: Any, query: str = "") -> list[Any]:
    """All rows, page by page, as a viewset asks for them."""
    rows, url = [], f"/anything{query}"
    while url:
        page = paginator()
        rows += page.paginate_queryset(queryset, Request(APIRequestFactory().get(url)))
        url = page.get_paginated_response([]).data["next"]
    return rows


def test_attributes_configure_another_model() -> None:
    farms = [make_farm(name) for name in ("Das Farm", "bora farm", "Bora Farm", "Achar Farm", "Das Farm")]
    expected = [farms[n] for n in (3, 1, 2, 0, 4)]
    assert walk(FarmPagination, Farm.objects.all()) == expected
    assert walk(FarmPagination, Farm.objects.all(), "?sort=-name&limit=1") == expected[::-1]
    assert walk(FarmPagination, Farm.objects.all(), "?sort=district") == farms


def test_default_sort_is_the_primary_key() -> None:
    states = list(State.objects.order_by("-pk"))
    assert walk(KeysetPagination, State.objects.all()) == states
    assert walk(KeysetPagination, State.objects.values("id"), "?sort=pk&limit=7") == [
        {"id": s.pk} for s in states[::-1]
    ]


def test_unknown_sort_field_is_a_programming_error() -> None:
    class Misspelt(KeysetPagination):
        sort_fields = ("nmae",)
        default_sort = "nmae"

    with pytest.raises(Exception, match="nmae"):
        walk(Misspelt, State.objects.all())
