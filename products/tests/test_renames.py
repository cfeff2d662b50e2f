"""A new name of a farm or of a vocabulary entry becomes searchable, while its products are read and written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from dev.testing.jobs import finish
from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.staff import make_staff, patch_product
from dev.testing.walks import ids, walk
from farmlokal.acting import acting_as
from farmlokal.jobs.models import Job
from products import services
from products.models import Category, Commodity, District, Farm, Product, State

pytestmark = pytest.mark.usefixtures("live_database")

FARM_PRODUCTS = 600
LOCK_SECONDS = 2  # as the service sets it


@pytest.fixture(autouse=True)
def _delete_rows(live_database: None) -> Iterator[None]:
    yield
    for model in (Job, Product, Farm):
        model._default_manager.all().delete()


def rename(row: Any, name: str) -> Job | None:
    row.name = name
    row.save()
    job: Job | None = row.reindexing
    return job


def found(client: Client, word: str) -> set[int]:
    return {pk for page in walk(client, f"/products?q={word}&limit=100", max_pages=50) for pk in ids(page)}


def finish_and_close(job: Job) -> None:
    with contextlib.closing(connection):  # of this thread
        finish(job)


def test_products_of_a_renamed_farm_are_found_and_patched_all_the_time(client: Client) -> None:
    products = make_offers({"name": f"Mango {n}"} for n in range(FARM_PRODUCTS))
    user = make_staff(name="patcher")
    client.force_login(user)
    with connection.cursor() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = %s", [LOCK_SECONDS])
    job = rename(products[0].farm, "Zubin Orchards")
    assert job
    everything, statuses = {product.pk for product in products}, set()
    with ThreadPoolExecutor(1) as pool:
        driving = pool.submit(finish_and_close, job)
        stock = 0
        while not driving.done():
            stock += 1
            statuses.add(patch_product(client, products[stock % FARM_PRODUCTS], {"stock": stock}).status_code)
            if stock % 50 == 0:
                assert found(client, "patil") | found(client, "zubin") == everything
        driving.result()
    assert statuses == {200}
    assert found(client, "zubin") == everything
    assert found(client, "patil") == set()
    user.delete()


def test_withdrawn_products_get_the_new_words_too() -> None:
    farm = make_farm()
    products = [make_offer(farm=farm) for _ in range(3)]
    services.withdraw(products[0].pk)
    job = rename(farm, "Zubin Orchards")
    assert (finish(job).done, finish(job).changed) == (3, 3)
    assert Product.objects.filter(words__contains=" zubin ").count() == 3


@pytest.mark.parametrize(
    ("model", "slug"), [(Commodity, "mango"), (District, "ratnagiri"), (State, "maharashtra"), (Category, "fruits")]
)
def test_renamed_vocabulary_is_searchable_once_its_job_has_run(client: Client, model: Any, slug: str) -> None:
    product, row = make_offer(), model.objects.get(slug=slug)
    name = row.name
    try:
        job = rename(row, "Zubin")
        if model is Category:  # its name is not searched
            assert job is None
            return
        assert finish(job).changed == 1
        assert found(client, "zubin") == {product.pk}
    finally:
        if job := rename(row, name):
            finish(job)


def test_unchanged_name_starts_no_job() -> None:
    farm = make_farm()
    assert rename(farm, farm.name) is None
    assert not Job.objects.exists()


def test_job_of_a_rename_names_its_actor() -> None:
    with acting_as("anna"):
        job = rename(make_farm(), "Zubin Orchards")
    assert job
    assert job.by == "anna"


def test_name_is_not_saved_without_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    farm = make_farm()
    with monkeypatch.context() as patch:
        patch.setattr("products.models.names.registry.find", _raise)
        with pytest.raises(RuntimeError):
            rename(farm, "Zubin Orchards")
    farm.refresh_from_db()
    assert farm.name != "Zubin Orchards"


def _raise(name: str) -> None:
    raise RuntimeError(name)
