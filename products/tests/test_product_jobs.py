"""Jobs that change products: their effects, and which products they change."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from dev.testing.jobs import finish
from dev.testing.offers import make_offer, make_offers
from farmlokal.http.problems import Problem
from farmlokal.jobs import registry, steps
from farmlokal.jobs.actions import Action
from farmlokal.jobs.models import Job
from products import services
from products.jobs.selections import read
from products.models import Commodity, Posting, Product

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def action_of(name: str) -> Action:
    action = registry.find(f"product.{name}")
    assert action
    return action


def start(name: str, query: str = "", **parameters: Any) -> Job:
    return steps.start(action_of(name), "asha", parameters=parameters, filter=query)


def run(name: str, query: str = "", **parameters: Any) -> Job:
    return finish(start(name, query, **parameters))


def numbers(job: Job) -> tuple[int, int, int]:
    return job.done, job.changed, job.failed


def test_withdraw_changes_the_matching_products_only() -> None:
    cheap, dear = make_offers([{"price": 5}, {"price": 50}])
    job = run("withdraw", "price_max=10.00")
    assert list(Product.objects.listed()) == [dear]
    assert not Posting.objects.filter(product_id=cheap.pk).exists()
    assert (job.status, numbers(job), job.total, job.is_total_exact) == ("finished", (1, 1, 0), 1, True)


def test_restore_lists_withdrawn_products_with_current_words() -> None:
    product = make_offer()
    services.withdraw(product.pk)
    product.farm.name = "Zubin Orchards"
    product.farm.save()  # its job does not run
    assert numbers(run("restore", "withdrawn=true")) == (1, 1, 0)
    assert Product.objects.listed().get() == product
    assert Posting.objects.filter(term="zubin", product_id=product.pk).exists()


def test_price_by_percent_is_rounded_to_paise() -> None:
    make_offers({"name": price, "price": Decimal(price)} for price in ("10.10", "0.10", "99999999.99", "0.01"))
    job = run("price_percent", percent="5")
    prices = dict(Product.objects.values_list("name", "price"))
    assert prices == {
        "10.10": Decimal("10.61"),
        "0.10": Decimal("0.11"),
        "99999999.99": Decimal("99999999.99"),
        "0.01": Decimal("0.01"),
    }
    assert numbers(job) == (4, 2, 1)
    failure = job.failures.get()
    assert failure.key == f"Product {Product.objects.get(name='99999999.99').pk}"
    assert "no more than 10 digits" in failure.reason


def test_price_that_would_be_zero_is_a_failure() -> None:
    make_offer(price=Decimal("0.01"))
    job = run("price_percent", percent="-60")
    assert numbers(job) == (1, 0, 1)
    assert "greater than or equal to 0.01" in job.failures.get().reason
    assert Product.objects.get().version == 1


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("price", {"price": "45.00"}, {"price": Decimal("45.00")}),
        ("stock", {"stock": "7"}, {"stock": 7}),
        ("commodity", {"commodity": "turmeric"}, {"commodity__slug": "turmeric", "category__slug": "spices"}),
    ],
)
def test_field_is_set_to_a_value(name: str, parameters: dict[str, str], expected: dict[str, Any]) -> None:
    make_offers({"name": f"{n}"} for n in range(3))
    assert numbers(run(name, **parameters)) == (3, 3, 0)
    assert Product.objects.filter(**expected, version=2).count() == 3
    assert numbers(run(name, **parameters)) == (3, 0, 0)
    assert Product.objects.filter(version=2).count() == 3


def test_new_commodity_is_searchable() -> None:
    product = make_offer()
    run("commodity", commodity="turmeric")
    assert Posting.objects.filter(term="turmeric", product_id=product.pk).exists()


def test_deleted_commodity_fails_each_product() -> None:
    make_offer()
    job = start("commodity", commodity="kiwano")
    finish(job)
    assert "no commodity kiwano" in job.failures.get().reason


def test_chosen_products_are_changed_in_either_state() -> None:
    listed, withdrawn, other = make_offers([{"name": "listed"}, {"name": "x", "is_active": False}, {"name": "other"}])
    job = run("stock", f"ids={withdrawn.pk},{listed.pk},999999999", stock="3")
    assert numbers(job) == (3, 2, 0)
    assert set(Product.objects.filter(stock=3)) == {listed, withdrawn}
    other.refresh_from_db()
    assert other.version == 1


def test_product_that_matches_no_longer_is_left_alone() -> None:
    (product,) = make_offers([{"price": Decimal("5.00")}])
    job = start("stock", "price_max=10.00", stock="3")
    taken = action_of("stock").take(job, 10)
    services.change(product.pk, price=Decimal("50.00"))
    assert action_of("stock").apply(job, taken.items).changed == 0
    assert numbers(finish(job)) == (0, 0, 0)


def test_products_created_after_the_start_are_left_alone() -> None:
    make_offers({"name": f"{n}", "created_at": NOW - dt.timedelta(days=1)} for n in range(15))
    job = start("stock", stock="3")
    assert steps.advance(job.pk, 0)
    new = make_offer()
    assert numbers(finish(job)) == (15, 15, 0)
    new.refresh_from_db()
    assert new.stock != 3


def test_every_product_is_visited_once_among_equal_moments() -> None:
    make_offers({"name": f"{n}", "created_at": NOW, "price": 100} for n in range(130))
    assert numbers(run("price_percent", "q=mango&in_stock=false", percent="5")) == (130, 130, 0)
    assert set(Product.objects.values_list("price", "version")) == {(Decimal("105.00"), 2)}


@pytest.mark.parametrize("query", ["unknown=1", "withdrawn=maybe", "price_max=x", "category=unknown"])
def test_bad_filter_is_refused(query: str) -> None:
    with pytest.raises(Problem):
        read(query)


def test_query_is_normalised() -> None:
    query = "sort=price&limit=3&withdrawn=true&price_max=9&q=Mango"
    assert read(query).query == "q=mango&price_max=9.00&withdrawn=true"
    assert read("ids=3,1").query == "ids=1,3"


def test_filter_that_became_invalid_fails_the_job() -> None:
    mango = Commodity.objects.get(slug="mango")
    job = start("stock", f"category={mango.category.slug}", stock="3")
    Job.objects.filter(pk=job.pk).update(filter="category=abolished")
    finish(job)
    job.refresh_from_db()
    assert (job.status, numbers(job)) == ("failed", (0, 0, 0))
    assert "category" in job.error
