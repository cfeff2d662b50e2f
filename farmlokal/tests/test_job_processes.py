"""Several processes drive one job, and are killed: each item is changed exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial

import pytest

from dev.testing.offers import make_offers
from dev.testing.waiting import wait_until
from farmlokal.jobs import registry, steps
from farmlokal.jobs.models import Job
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

WORKER = [sys.executable, "manage.py", "run_jobs"]


@pytest.fixture(autouse=True)
def _delete_rows(live_database: None) -> Iterator[None]:
    yield
    for model in (Job, Product):
        model._default_manager.all().delete()


@contextmanager
def worker(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*WORKER, *arguments], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=60)


def start(count: int) -> Job:
    make_offers({"name": f"{n}", "price": Decimal(100 + n % 500)} for n in range(count))
    action = registry.find("product.price_percent")
    assert action
    return steps.start(action, "asha", parameters={"percent": "5"})


def done(job: Job) -> int:
    job.refresh_from_db()
    return job.done


def has_reached(job: Job, target: int) -> bool:
    return done(job) >= target or not job.is_running


def assert_each_changed_once(job: Job, count: int) -> None:
    job.refresh_from_db()
    assert (job.status, job.done, job.changed, job.failed) == ("finished", count, count, 0)
    for name, price, version in Product.objects.values_list("name", "price", "version"):
        assert (price, version) == ((100 + int(name) % 500) * Decimal("1.05"), 2)


def test_killed_workers_and_two_drivers_change_each_product_once(database_environment: dict[str, str]) -> None:
    count, rng = 1500, random.Random(3)
    job = start(count)
    for _ in range(4):
        target = done(job) + rng.randrange(20, 200)
        with worker(database_environment) as first, worker(database_environment) as second:
            wait_until(partial(has_reached, job, target))
            for process in (first, second):
                os.kill(process.pid, signal.SIGKILL)
    with worker(database_environment, "--until-empty") as first, worker(database_environment, "--until-empty") as other:
        while steps.advance(job.pk) or Job.objects.get(pk=job.pk).is_running:
            pass
        assert (first.wait(timeout=60), other.wait(timeout=60)) == (0, 0)
    assert_each_changed_once(job, count)


def test_worker_ends_on_sigterm_after_its_step(database_environment: dict[str, str]) -> None:
    job = start(400)
    with worker(database_environment) as process:
        wait_until(lambda: done(job) > 0)
        process.terminate()
        assert process.wait(timeout=60) == 0
    job.refresh_from_db()
    assert Product.objects.filter(version=2).count() == job.done


def test_worker_leaves_stopped_jobs_alone(database_environment: dict[str, str]) -> None:
    job = start(5)
    steps.stop(job.pk)
    with worker(database_environment, "--until-empty") as process:
        assert process.wait(timeout=60) == 0
    assert done(job) == 0
