"""Fixtures that tests of several apps share. Everything runs on a real MySQL or MariaDB and a real Redis."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import setup_databases, teardown_databases

from dev.testing.servers import own_redis
from dev.testing.waiting import wait_until
from farmlokal.redis.client import run
from farmlokal.redis.scripts import FORGET
from products.page_cache import catalogue_cache

# Each worker of a parallel run has a Redis database of its own, as pytest-django gives it a MySQL one: for this
# process, whose settings are read already, and for those that tests start.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    number = int(worker.removeprefix("gw")) + 1  # 0 may be in use
    os.environ["REDIS_URL"] = urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{number}").geturl()
    settings.REDIS_URL = settings.CACHES["default"]["LOCATION"] = os.environ["REDIS_URL"]

# Tests ask more than any client; those of the limit set one.
os.environ["RATE_LIMIT_ANONYMOUS"] = "off"
settings.RATE_LIMIT_ANONYMOUS = None

LIVE_TABLES = [
    *("products_posting", "products_product", "products_farm"),
    *("integrations_webhookreplay", "integrations_webhookevent", "integrations_appliedversion"),
]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django import DjangoDbBlocker
    from pytest_django.fixtures import Settings

    from dev.testing.servers import Daemon


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: DjangoDbBlocker, django_db_modify_db_settings: None
) -> Iterator[None]:
    """A test database in every session; pytest-django's own fixture leaves one out, and with it tests on the
    real database, where no test of the session carries its mark."""
    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(databases, verbosity=0)


@pytest.fixture(autouse=True)
def _unknown_pages() -> None:
    """No page that an earlier test has left is believed, and the next ones are, also where it had lost Redis."""
    wait_until(lambda: run(FORGET, [catalogue_cache.generation_key]))
    catalogue_cache.pending.check_connection()
    wait_until(lambda: not catalogue_cache.pending.is_pending)


@pytest.fixture
def redis_alone(settings: Settings, tmp_path: Path) -> Iterator[Daemon]:
    """A Redis that this process alone uses, to be frozen, filled or made forget: the usual one serves the tests that
    run beside this one, too."""
    there = settings.CACHES["default"]
    with own_redis(tmp_path) as server:
        settings.CACHES = {"default": there | {"LOCATION": server.url}}
        yield server


@pytest.fixture(scope="module")
def live_database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The database without a transaction around the tests: other connections and processes see what is
    written. For whole modules; their products, farms and webhooks go when the module ends."""
    with django_db_blocker.unblock():
        assert connection.settings_dict["NAME"].startswith("test_")
        yield
        _truncate()


def _truncate() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        for table in LIVE_TABLES:
            cursor.execute(f"TRUNCATE {table}")
        cursor.execute("SET foreign_key_checks = 1")


@pytest.fixture(scope="session")
def database_environment(django_db_setup: None) -> dict[str, Any]:
    """The environment in which another process finds this worker's databases."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    return {**os.environ, "DATABASE_URL": url, "ALLOWED_HOSTS": "localhost,127.0.0.1"}
