"""The page that starts a job for many products, and the actions of the list that lead to it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from dev.testing.offers import make_offers
from dev.testing.staff import make_staff
from farmlokal.jobs.models import Job
from products.models import Product

pytestmark = pytest.mark.django_db

LIST_URL = "/admin/products/product/"
PAGE = f"{LIST_URL}bulk/"
VERBS = ["withdraw", "restore", "price-percent", "price", "stock", "commodity"]


def act(client: Client, verb: str, *products: Product, query: str = "", **others: str) -> Any:
    form = {"action": verb, "_selected_action": [product.pk for product in products], **others}
    return client.post(f"{LIST_URL}{query}", form)


@pytest.mark.parametrize("verb", VERBS)
def test_action_of_the_list_leads_to_the_page(admin_client: Client, verb: str) -> None:
    first, second, _ = make_offers({"name": f"Mango {n}"} for n in range(3))
    answer = act(admin_client, verb, second, first)
    assert answer["Location"] == f"{PAGE}?action={verb}&ids={first.pk}%2C{second.pk}"
    page = admin_client.get(answer["Location"]).content.decode()
    assert "Exactly 2 products" in page
    assert "Mango 1" in page
    assert "Mango 2" not in page
    assert not Job.objects.exists()


def test_page_has_neither_inline_script_nor_style(admin_client: Client) -> None:
    page = admin_client.get(f"{PAGE}?action=commodity").content.decode()
    assert "style=" not in page
    assert "<style" not in page
    assert "<script>" not in page


def test_start_does_the_job_and_leads_to_it(admin_client: Client) -> None:
    make_offers({"name": f"{n}", "price": n} for n in range(1, 9))
    answer = admin_client.post(f"{PAGE}?action=stock&price_max=3&sort=price", {"stock": "7"})
    job = Job.objects.get()
    assert answer["Location"] == f"/admin/farmlokal/job/{job.pk}/change/"
    assert (job.by, job.filter, job.parameters) == ("admin", "price_max=3.00", {"stock": "7"})
    assert (job.status, job.changed, job.total) == ("finished", 3, 3)
    assert Product.objects.filter(stock=7).count() == 3


def test_second_click_leads_to_the_same_job(admin_client: Client) -> None:
    (product,) = make_offers([{"price": Decimal("40.00")}])
    url, form = f"{PAGE}?action=price-percent&ids={product.pk}", {"percent": "5"}
    first, second = (admin_client.post(url, form)["Location"] for _ in range(2))
    assert first == second
    assert Product.objects.get().price == Decimal("42.00")
    admin_client.post(url, {"percent": "10"})  # another value is another job
    Job.objects.update(created_at=timezone.now() - dt.timedelta(minutes=1))
    admin_client.post(url, form)  # as is the same one later
    assert Job.objects.count() == 3


def test_preview_shows_prices_before_and_after(admin_client: Client) -> None:
    make_offers([{"price": Decimal("40.00")}, {"price": Decimal("99999999.99")}])
    page = admin_client.post(f"{PAGE}?action=price-percent", {"percent": "5", "preview": "1"}).content.decode()
    assert "<td>40.00</td><td>42.00</td>" in page
    assert "no more than 10 digits" in page
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        ("price-percent", {"percent": "-100"}),
        ("price-percent", {"percent": "1e9"}),
        ("price-percent", {"percent": ""}),
        ("price", {"price": "0"}),
        ("stock", {"stock": "-1"}),
        ("commodity", {"commodity": "999999"}),
    ],
)
def test_bad_value_is_refused(admin_client: Client, verb: str, form: dict[str, str]) -> None:
    (name,) = form
    for others in ({}, {"preview": "1"}):
        answer = admin_client.post(f"{PAGE}?action={verb}", form | others)
        assert list(answer.context["form"].errors) == [name]
    assert not Job.objects.exists()


@pytest.mark.parametrize("query", ["", "?action=", "?action=abolish", "?action=stock&action=price"])
def test_unknown_action_is_not_found(admin_client: Client, query: str) -> None:
    assert admin_client.get(PAGE + query).status_code == 404


@pytest.mark.parametrize("query", ["ids=x", "ids=", "category=none", "price_max=x", "unknown=1", "withdrawn=x"])
def test_bad_query_leads_back_to_the_list(admin_client: Client, query: str) -> None:
    for method in (admin_client.get, admin_client.post):
        answer = method(f"{PAGE}?action=withdraw&{query}")
        assert answer["Location"] == LIST_URL
    assert not Job.objects.exists()


def test_viewer_may_not_open_the_page(client: Client) -> None:
    (product,) = make_offers([{}])
    client.force_login(make_staff("view_product", "view_job"))
    assert client.get(f"{PAGE}?action=withdraw").status_code == 403
    assert client.post(f"{PAGE}?action=withdraw").status_code == 403
    act(client, "withdraw", product)
    assert Product.objects.listed().get() == product


def test_editor_who_may_not_view_jobs_gets_a_message(client: Client) -> None:
    make_offers([{}])
    client.force_login(make_staff("view_product", "change_product"))
    answer = client.post(f"{PAGE}?action=withdraw", follow=True)
    assert answer.redirect_chain == [(LIST_URL, 302)]
    assert "Withdraw products: finished, 1 done, 0 failed." in answer.content.decode()


def test_change_is_in_the_history_of_the_product(admin_client: Client) -> None:
    (product,) = make_offers([{}])
    admin_client.post(f"{PAGE}?action=withdraw&ids={product.pk}")
    (change,) = Product.history.filter(id=product.pk)
    assert change.history_user == f"job {Job.objects.get().pk} of admin"
