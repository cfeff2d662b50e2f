"""HTML pages work in a browser that enforces their Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Group
from playwright.sync_api import Page

from accounts.models import ApiClient, User
from dev.testing.browser import DESKTOP, Faults, make_user
from dev.testing.offers import make_offer
from farmlokal.http.security_headers import CSP, STRICT
from farmlokal.jobs.models import Job
from farmlokal.tests.test_permission_matrix import GROUPS, STOPPED_JOB
from integrations.models import WebhookEvent


@pytest.fixture(scope="module")
def rows(live_database: None) -> Iterator[None]:
    """A row of each model, so that each page has something to show."""
    make_offer()
    stopped = {"action": "product.stock", "parameters": {"stock": "3"}, "status": Job.Status.STOPPED, "by": "asha"}
    job = Job.objects.create(pk=STOPPED_JOB, **stopped)
    WebhookEvent.objects.create(webhook_id="w", type="t", payload=b'{"a": [1]}', headers={"x": "y"}, error="late")
    client = ApiClient.objects.create(client_id="c", name="Mandi Mart")
    group = Group.objects.create(name="pickers")
    yield
    job.delete()
    client.delete()
    group.delete()


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("size", [DESKTOP])
@pytest.mark.parametrize("group", GROUPS)
def test_page_of_the_admin_breaks_no_policy(
    page: Page, log_in: Callable[[User], None], faults: Faults, group: str
) -> None:
    log_in(make_user("asha", is_superuser=True))
    faults.allow("status of 40[345]")
    model, table = GROUPS[group]
    for row in table:
        if row.action == "GET":
            page.goto(f"/admin/{row.path.format(pk=model._default_manager.latest('pk').pk)}")


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("size", [DESKTOP])
@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/admin/login/"])
def test_public_page_breaks_no_policy(page: Page, path: str) -> None:
    answer = page.goto(path, wait_until="networkidle")
    assert answer
    assert "default-src 'none'" in answer.headers[CSP.lower()]


@pytest.mark.parametrize("word", ["unsafe", "*", "http", "blob", "data"])
def test_strict_policy_allows_nothing_unsafe(word: str) -> None:
    assert word not in STRICT
