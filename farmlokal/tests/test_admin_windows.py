"""Admin lists of large tables: a URL cannot ask MySQL for more than the pages of the list do."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dev.testing.offers import make_offer
from farmlokal.admin.paginator import WINDOW_ROWS
from farmlokal.jobs.models import Job
from integrations.models import WebhookEvent
from products.models import Farm

pytestmark = pytest.mark.django_db

MODELS = [Farm, Job]


def path_of(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def statements(client: Client, model: type[Model], query: str, status: int = 200) -> list[str]:
    """The statements about this model's table."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"{path_of(model)}?{query}").status_code == status
    return [entry["sql"] for entry in queries if model._meta.db_table in entry["sql"]]


@pytest.fixture(autouse=True)
def _rows() -> None:
    make_offer()
    Job.objects.create(action="withdraw-products", by="asha")


@pytest.mark.parametrize("model", MODELS)
def test_url_cannot_sort_a_list(admin_client: Client, model: type[Model]) -> None:
    unsorted = statements(admin_client, model, "")
    assert unsorted
    columns = range(len(admin.site.get_model_admin(model).list_display) + 2)
    for column in columns:
        assert statements(admin_client, model, f"o={column}") == unsorted
        assert statements(admin_client, model, f"o=-{column}.1") == unsorted


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Farm, "name__contains=x"),
        (Farm, "district__name__contains=x"),
        (WebhookEvent, "error__contains=x"),
        (WebhookEvent, "received_at__gt=2026-01-01"),
    ],
)
def test_url_with_another_lookup_reads_nothing(admin_client: Client, model: type[Model], query: str) -> None:
    assert statements(admin_client, model, query, status=400) == []


@pytest.mark.parametrize(("farms", "is_cut"), [(WINDOW_ROWS + 1, True), (WINDOW_ROWS, True), (WINDOW_ROWS - 1, False)])
def test_list_says_where_it_ends(admin_client: Client, farms: int, is_cut: bool) -> None:
    first = Farm.objects.get()
    Farm.objects.bulk_create(Farm(name=f"Farm {n}", district_id=first.district_id) for n in range(farms - 1))
    page = admin_client.get(path_of(Farm)).content.decode()
    assert ("The list ends after 1,000 rows" in page) is is_cut
    assert f"{min(farms, WINDOW_ROWS)} farms" in page


@pytest.mark.parametrize("query", ["", "q=m", "q=zzz"])
def test_list_does_not_offer_to_show_all(admin_client: Client, query: str) -> None:
    page = admin_client.get(f"{path_of(Farm)}?{query}").content.decode()
    assert 'id="searchbar"' in page
    assert "Show all" not in page
