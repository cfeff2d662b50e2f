"""What surrounds each page of the admin: navigation by permission, the overview and our own wording."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import connection
from django.template.loader import get_template
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dev.testing.databases import rows_read
from dev.testing.offers import make_offer
from dev.testing.staff import make_staff
from integrations.models import WebhookEvent

pytestmark = pytest.mark.django_db

TEMPLATES = Path(__file__).parents[1] / "templates"
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:")


def client_with(*permissions: str) -> Client:
    client = Client()
    client.force_login(make_staff(*permissions))
    return client


def navigation(client: Client) -> list[str]:
    page = client.get("/admin/").content.decode()
    (links,) = re.findall(r'<nav class="sections".*?</nav>', page, re.DOTALL)
    return re.findall(r"<a [^>]*>([^<]+)</a>", links)


@pytest.mark.parametrize(
    ("permissions", "labels"),
    [
        (["view_product"], ["Products"]),
        (["change_farm"], ["Farms"]),
        (["view_state", "view_webhookevent"], ["Vocabulary", "Webhooks"]),
        (["view_group", "view_apiclient"], ["Users", "API clients"]),
    ],
)
def test_navigation_shows_what_the_user_may_open(permissions: list[str], labels: list[str]) -> None:
    assert navigation(client_with(*permissions)) == labels


def test_section_opens_its_first_permitted_page() -> None:
    page = client_with("view_state", "view_district").get("/admin/").content.decode()
    assert '<a href="/admin/products/district/">Vocabulary</a>' in page
    assert "/admin/products/commodity/" not in page


def test_user_without_permissions_is_told_what_to_do() -> None:
    assert "Ask a superuser for a role." in client_with("delete_session").get("/admin/").content.decode()


def test_front_page_is_a_few_statements_of_a_few_rows(admin_client: Client) -> None:
    WebhookEvent.objects.bulk_create(
        WebhookEvent(webhook_id=f"w{n}", type="t", payload=b"{}", status="dead") for n in range(300)
    )
    admin_client.get("/admin/")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = admin_client.get("/admin/")
    assert "10+ dead" in page.content.decode()
    assert len(queries) < 12
    assert rows_read(lambda: admin_client.get("/admin/")) < 100


def test_lists_are_titled_by_their_contents(admin_client: Client) -> None:
    page = admin_client.get("/admin/accounts/apiclient/").content.decode()
    assert "<h1>API clients</h1>" in page
    assert "Select" not in re.sub(r"(?s)<form.*</form>", "", page)


def test_admin_templates_have_no_inline_script_or_style() -> None:
    """The browser would refuse them by the Content-Security-Policy."""
    texts = {path: path.read_text() for path in [*TEMPLATES.glob("admin/**/*.html"), *TEMPLATES.glob("registration/*")]}
    assert {path.name: found for path, text in texts.items() if (found := INLINE.findall(text))} == {}


def test_admin_templates_compile() -> None:
    for path in [*TEMPLATES.glob("admin/**/*.html"), *TEMPLATES.glob("registration/*.html")]:
        get_template(str(path.relative_to(TEMPLATES)))


def test_form_keeps_facts_of_the_record_aside(admin_client: Client) -> None:
    page = admin_client.get(f"/admin/products/product/{make_offer().pk}/change/").content.decode()
    (aside,) = re.findall(r'<fieldset class="module aligned aside".*?</fieldset>', page, re.DOTALL)
    assert "Version:" in aside
    assert "aside" not in admin_client.get("/admin/products/product/add/").content.decode()


def test_front_page_shows_changes_that_the_user_may_view(admin_client: Client) -> None:
    product = make_offer(name="Ratnagiri Alphonso")
    assert "Ratnagiri Alphonso" in admin_client.get("/admin/").content.decode()
    assert product.farm.name in admin_client.get("/admin/").content.decode()
    page = client_with("view_product").get("/admin/").content.decode()
    assert "Ratnagiri Alphonso" in page
    assert f'history/">{product.farm.name}' not in page
