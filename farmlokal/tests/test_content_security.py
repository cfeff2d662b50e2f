"""Every HTML page has a Content-Security-Policy, and works in a browser that enforces it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from playwright.sync_api import Page

from accounts.models import ApiClient, User
from dev.testing.browser import DESKTOP, Faults, make_user
from dev.testing.offers import make_offer
from farmlokal.http.content_security import HEADER, STRICT
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
    assert "default-src 'none'" in answer.headers[HEADER.lower()]


@pytest.mark.parametrize("word", ["unsafe", "*", "http", "blob", "data"])
def test_strict_policy_allows_nothing_unsafe(word: str) -> None:
    assert word not in STRICT


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "policy"),
    [("/admin/", STRICT), ("/admin/login/", STRICT), ("/products", None), ("/static/admin/css/base.css", None)],
)
def test_html_pages_have_the_policy(admin_client: Client, path: str, policy: str | None) -> None:
    answer: Any = admin_client.get(path, follow=True)
    assert answer.status_code == 200
    assert answer.get(HEADER) == policy
