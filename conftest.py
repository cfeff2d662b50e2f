"""Fixtures that tests of several apps share. All tests use a real MySQL or MariaDB and a real Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, Page
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from accounts.models import User
from dev.testing import browser as browsers
from dev.testing.browser import DESKTOP, PHONE, Faults, Size
from dev.testing.databases import urls_of
from dev.testing.servers import Daemon, Server, own_redis, running
from dev.testing.waiting import wait_until
from dev.testing.walks import forget_pages
from products.catalogue_cache import catalogue_cache

# Tests send more requests than the limit allows; tests of the limit set their own.
os.environ["RATE_LIMIT_ANONYMOUS"] = "off"
settings.RATE_LIMIT_ANONYMOUS = None

# A background job of a shell ignores SIGINT, and nohup SIGHUP. The commands that tests start and signal would inherit
# that. They do not inherit a handler.
for ignored in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, lambda *_: None)

# A busy machine is slow, not wrong.
hypothesis_settings.register_profile("any_speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any_speed")

LIVE_TABLES = [
    *("farmlokal_jobfailure", "farmlokal_job"),
    *("products_posting", "products_product", "products_farm", "products_filepiece", "products_productfile"),
    *("products_historicalproduct", "products_historicalfarm"),
    *("integrations_webhookreplay", "integrations_webhookevent", "integrations_appliedversion"),
    *("accounts_user", "accounts_user_groups", "accounts_user_user_permissions", "django_session", "django_admin_log"),
]


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: DjangoDbBlocker, django_db_modify_db_settings: None
) -> Iterator[None]:
    """Always create the test database. pytest-django's own fixture skips it when no test of the session is marked
    with django_db, and our unmarked live tests would then write to the real database."""
    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(databases, verbosity=0)


@pytest.fixture(autouse=True)
def _empty_page_cache() -> None:
    """Invalidate the cached pages of earlier tests, and end a pending invalidation that a test left behind."""
    forget_pages()
    catalogue_cache.pending.check_connection()
    wait_until(lambda: not catalogue_cache.pending.is_pending)


@pytest.fixture
def admin_user(db: None) -> User:
    """The user of pytest-django's admin_client, without a password: hashing one takes longer than most tests."""
    user: User = User.objects.create_superuser("admin")
    return user


@pytest.fixture
def redis_alone(settings: Settings, tmp_path: Path) -> Iterator[Daemon]:
    """A private Redis that a test may freeze, fill or empty; parallel tests share the usual one."""
    cache = settings.CACHES["default"]
    with own_redis(tmp_path) as server:
        settings.CACHES = {"default": cache | {"LOCATION": server.url}}
        yield server


@pytest.fixture(scope="module")
def live_database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database without a transaction, so that other connections see what tests write. At the module's end
    all products, farms, webhooks and users are deleted."""
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
    """Environment variables for another process that uses this worker's databases."""
    return {**os.environ, **urls_of(connection.settings_dict["NAME"]), "ALLOWED_HOSTS": "localhost,127.0.0.1"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsers.chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def site(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    """The service for the pages of browser tests."""
    with running(database_environment, WEB_CONCURRENCY="1") as server:
        yield server


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def size(request: pytest.FixtureRequest) -> Size:
    """Browser tests run at both sizes. @pytest.mark.parametrize("size", [DESKTOP]) limits a test to one."""
    wanted: Size = request.param
    return wanted


@pytest.fixture
def faults() -> Iterator[Faults]:
    """Fails the test at its end if the browser complained; faults.allow() names what the test expects."""
    collected = Faults()
    yield collected
    collected.check()


@pytest.fixture
def page(browser: Browser, site: Server, size: Size, faults: Faults) -> Iterator[Page]:
    """An empty page of a new visitor: page.goto("/admin/")."""
    with browsers.opened(browser, site.url, size, faults) as opened:
        yield opened


@pytest.fixture
def log_in(page: Page, site: Server) -> Callable[[User], None]:
    """log_in(make_user("anna", "Catalogue editor")): the page's next request carries that user's session."""
    return partial(browsers.log_in, page, site.url)
