"""The history page shows each change once, with its values, and stays cheap beside many changes."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dev.testing.databases import rows_read
from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.staff import make_staff
from farmlokal.acting import acting_as
from products import services
from products.history.pages import PAGE_CHANGES, read_page
from products.history.recent import recent_changes
from products.models import Commodity, Farm, Product

pytestmark = pytest.mark.django_db

MOMENT = dt.datetime(2026, 11, 29, 6, 30, 5, tzinfo=dt.UTC)


@pytest.fixture
def product() -> Product:
    (product,) = make_offers([{"name": "Mango", "price": Decimal("50.00")}])
    return product


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", response.content.decode()))


def url_of(product: Product) -> str:
    return f"/admin/products/product/{product.pk}/history/"


def add_changes(product: Product, number: int) -> None:
    """A price that rises by one rupee a change."""
    table = Product.history.model
    names = [field.attname for field in table.tracked_fields if field.attname != "price"]
    values = {name: getattr(product, name) for name in names}
    values |= {"history_date": timezone.now(), "history_type": "~", "history_user_id": "partner"}
    table.objects.bulk_create(
        [table(price=n + 1, before={"price": f"{n}.00"}, **values) for n in range(number)], batch_size=1000
    )


def test_page_shows_when_by_whom_and_both_values(admin_client: Client, product: Product) -> None:
    farm = make_farm("Joshi Farm", district="nashik")
    with acting_as("client A shop"):
        services.change(product.pk, price=Decimal("47.50"), organic=True, farm=farm, unit="dozen", variety="Alphonso")
    Product.history.update(history_date=MOMENT)
    page = page_of(admin_client, url_of(product))
    assert "29 Nov 2026, 12:00:05 client A shop" in page
    for shown in (
        "Price in rupees: 50.00 → 47.50",
        "Organic: No → Yes",
        "Farm: Patil Farm, Ratnagiri → Joshi Farm",
        "Unit: kilogram → dozen",
        "Variety: (empty) → Alphonso",
    ):
        assert shown in page


def test_new_object_shows_its_first_values(admin_client: Client) -> None:
    page = page_of(admin_client, url_of(make_offer(name="Onion")))
    for shown in ("Created", "Name: Onion", "Commodity: Mango", "Listed: Yes"):
        assert shown in page
    assert "Version" not in page


def test_markup_in_values_is_escaped(admin_client: Client, product: Product) -> None:
    services.change(product.pk, description="<script>alert(1)</script>" * 20)
    page = admin_client.get(url_of(product)).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize("model", [Farm, Commodity])
def test_farms_and_names_have_the_page(admin_client: Client, product: Product, model: type[Farm | Commodity]) -> None:
    one = product.farm if model is Farm else product.commodity
    earlier, one.name = one.name, "Renamed"
    one.save()
    page = page_of(admin_client, f"/admin/products/{model._meta.model_name}/{one.pk}/history/")
    assert f"Name: {earlier} → Renamed" in page


def test_pages_walk_through_all_changes_in_both_directions(admin_client: Client, product: Product) -> None:
    add_changes(product, 2 * PAGE_CHANGES + 50)

    def walk(query: str, link: str) -> Iterator[list[int]]:
        while True:
            response = admin_client.get(url_of(product) + query)
            yield [change.key for change in response.context["page"].changes]
            found = re.search(rf'href="([^"]+)" rel="{link}"', response.content.decode())
            if not found:
                return
            query = found[1]

    keys = list(Product.history.values_list("history_id", flat=True))
    down = list(walk("", "next"))
    assert [len(page) for page in down] == [100, 100, 50]
    assert list(chain.from_iterable(down)) == keys
    up = list(walk(f"?before={down[-2][-1]}", "prev"))
    assert [len(page) for page in up] == [50, 100, 100]
    assert list(chain.from_iterable(up[::-1])) == keys


@pytest.mark.parametrize("query", ["?before=x", "?after=-1", "?before=", "?before=" + "9" * 30])
def test_malformed_position_is_400(admin_client: Client, product: Product, query: str) -> None:
    assert admin_client.get(url_of(product) + query).status_code == 400


def test_history_page_answers_no_post(admin_client: Client, product: Product) -> None:
    assert admin_client.post(url_of(product)).status_code == 405


def test_history_needs_the_permission_to_view(client: Client, product: Product) -> None:
    client.force_login(make_staff("view_farm"))
    assert client.get(url_of(product)).status_code == 403
    client.force_login(make_staff("view_product", name="reader"))
    assert client.get(url_of(product)).status_code == 200
    assert client.get("/admin/products/product/999999/history/").status_code == 302


def test_page_among_thousands_of_changes_reads_one_page(admin_client: Client, product: Product) -> None:
    (other,) = make_offers([{}])
    add_changes(other, 1000)
    add_changes(product, 4000)
    add_changes(other, 1000)
    for query in ("", f"?before={Product.history.filter(id=product.pk).first().history_id - 2000}"):
        url = url_of(product) + query
        admin_client.get(url)
        with CaptureQueriesContext(connection) as queries:
            assert len(admin_client.get(url).context["page"].changes) == PAGE_CHANGES
        assert len(queries) < 12
        assert rows_read(lambda url=url: admin_client.get(url)) < 3 * PAGE_CHANGES  # type: ignore[misc]


def test_names_take_one_statement_for_each_foreign_key(product: Product) -> None:
    for n in range(5):
        services.change(product.pk, farm=make_farm(f"Farm {n}"), commodity=Commodity.objects.all()[n])
    with CaptureQueriesContext(connection) as queries:
        assert len(read_page(Product, product.pk).changes) == 5
    assert len(queries) == 3


def test_catalogue_pages_leave_the_admins_own_log_empty(admin_client: Client, product: Product) -> None:
    url = f"/admin/products/farm/{product.farm_id}/change/"
    assert admin_client.post(url, {"name": "Joshi Farm"}).status_code == 302
    admin_client.post(f"/admin/products/product/bulk/?action=withdraw&ids={product.pk}")
    assert Product.history.count() == 1
    assert not LogEntry.objects.exists()
    admin_client.post("/admin/auth/group/add/", {"name": "Pickers"})
    assert LogEntry.objects.count() == 1


def test_recent_changes_are_the_newest_of_all_tables(product: Product) -> None:
    with acting_as("anna"):
        services.change(product.pk, stock=7)
    farm = Farm.objects.get(pk=product.farm_id)
    farm.name = "Joshi Farm"
    farm.save()
    newest, second = recent_changes(2)
    assert (newest.by, newest.kind, newest.model, newest.name) == ("system", "Changed", Farm, "Joshi Farm")
    assert (second.by, second.name, second.fields, second.url) == ("anna", "Mango", ["Stock"], url_of(product))
    assert [change.model for change in recent_changes(9, [Product])] == [Product]
    assert recent_changes(9, []) == []


def test_recent_changes_read_only_the_last_rows(product: Product) -> None:
    add_changes(product, 5000)
    recent_changes(10)
    with CaptureQueriesContext(connection) as queries:
        assert len(recent_changes(10)) == 10
    assert len(queries) == 1
    assert rows_read(lambda: recent_changes(10)) < 100
