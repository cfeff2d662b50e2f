"""Workers are killed in the middle of a check, an import and an export: no row is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from dev.testing.files import start_check, start_export, start_import, upload_rows
from dev.testing.offers import make_farm, make_offers
from dev.testing.waiting import wait_until
from farmlokal.jobs.models import Job
from products.files.storage import export_rows
from products.models import FilePiece, Product, ProductFile

pytestmark = pytest.mark.usefixtures("live_database")

WORKER = [sys.executable, "manage.py", "run_jobs"]


@pytest.fixture(autouse=True)
def _delete_rows(live_database: None) -> Iterator[None]:
    yield
    for model in (Job, FilePiece, ProductFile, Product):
        model._default_manager.all().delete()


@pytest.fixture
def run_with_kills(database_environment: dict[str, str]) -> Callable[[Job], Job]:
    def run(job: Job) -> Job:
        """Two workers drive the job. Both are killed at two random moments."""
        rng = random.Random(7)
        for _ in range(2):
            workers = [subprocess.Popen(WORKER, env=database_environment) for _ in range(2)]
            job.refresh_from_db()
            target = job.done + rng.randrange(5, 300)
            try:
                wait_until(partial(moved, job, target))
            finally:
                for worker in workers:
                    os.kill(worker.pid, signal.SIGKILL)
                    worker.wait(timeout=60)
        subprocess.run([*WORKER, "--until-empty"], env=database_environment, check=True, timeout=300)
        job.refresh_from_db()
        assert job.status == "finished"
        return job

    return run


def moved(job: Job, target: int) -> bool:
    job.refresh_from_db()
    return job.done >= target or not job.is_running


def rows(count: int) -> list[list[Any]]:
    """As many changes as new products, in turn."""
    farm = make_farm().pk
    products = make_offers({"name": f"Mango {n}", "price": Decimal(50)} for n in range(count))
    found: list[list[Any]] = []
    for n, product in enumerate(products):
        found.append([product.pk, product.name, "mango", "A", product.farm_id, "61"])
        found.append(["", f"New mango {n}", "mango", "A", farm, "61"])
    return found


def test_killed_workers_check_each_row_once(run_with_kills: Callable[[Job], Job]) -> None:
    file = upload_rows("id,name,commodity,grade,farm,price", [*rows(400), [0, "Mango", "mango", "A", 1, "5"]])
    job = run_with_kills(start_check(file))
    file.refresh_from_db()
    assert (job.done, job.failed, job.failures.count()) == (801, 1, 1)
    assert (file.created, file.updated, file.unchanged) == (400, 400, 0)


def test_killed_workers_import_each_row_once(run_with_kills: Callable[[Job], Job]) -> None:
    file = upload_rows("id,name,commodity,grade,farm,price", rows(300))
    job = run_with_kills(start_import(file))
    assert (job.done, job.changed, job.failed) == (600, 600, 0)
    names = list(Product.objects.filter(name__startswith="New mango").values_list("name", flat=True))
    assert sorted(names) == sorted(f"New mango {n}" for n in range(300))
    assert set(Product.objects.exclude(name__startswith="New").values_list("price", "version")) == {(Decimal(61), 2)}
    assert Product.history.filter(history_user_id=job.actor).count() == 600


def test_killed_workers_export_each_product_once(run_with_kills: Callable[[Job], Job]) -> None:
    products = make_offers({"name": f"Mango {n}", "description": "x" * 500} for n in range(1500))
    job = run_with_kills(start_export())
    exported = [int(row[0]) for row in export_rows(ProductFile.objects.get(pk=job.parameters["file"]))]
    assert len(exported) == 1500
    assert sorted(exported) == [product.pk for product in products]
