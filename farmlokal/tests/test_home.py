"""GET / tells people what this is, what works and where to go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from dev.testing.offers import make_offers
from farmlokal import home, routes
from products.listing import statistics

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_facts() -> None:
    home.latest_facts.reset()


STATES = {
    "ok": ("up", "up", "closed", "Everything works."),
    "degraded": ("up", "up", "open", "The catalogue works; a part is down."),
    "unavailable": ("down", "up", "closed", "The catalogue is not available: MySQL is down."),
}


def document(status: str) -> dict[str, Any]:
    mysql, redis, breaker, _ = STATES[status]
    return {"status": status, "checks": {"mysql": mysql, "redis": redis}, "breakers": {"partner": breaker}}


def test_page_shows_the_present_state(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer["Cache-Control"] == "no-store"
    assert "Everything works." in answer.content.decode()


@pytest.mark.parametrize("status", STATES)
def test_each_state_has_its_sentence(client: Client, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setattr(home, "readiness", lambda: document(status))
    answer = client.get("/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert [sentence for *_, sentence in STATES.values() if sentence in page] == [STATES[status][3]]
    assert re.findall("<dd>(.*?)</dd>", page)[-3:] == list(STATES[status][:3])


def test_every_link_leads_to_a_page(client: Client) -> None:
    links = set(re.findall('<a href="(/[^"]*)"', client.get("/").content.decode()))
    assert links == {"/products", "/docs", "/redoc", "/openapi.json", "/admin/", "/readyz", "/metrics"}
    for link in links:
        assert client.get(link, follow=True).status_code == 200, link


def test_examples_name_the_host_of_the_request(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]
    commands = re.findall(r"curl -s '(\S+)'", client.get("/", headers={"Host": "shop.example:8123"}).content.decode())
    assert len(commands) == 4
    for url in commands:
        assert url.startswith("http://shop.example:8123/products")


def test_page_allows_only_its_own_files_and_sets_no_cookie(client: Client) -> None:
    answer = client.get("/")
    page = answer.content.decode()
    policy = dict(rule.split(" ", 1) for rule in answer["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {source for sources in policy.values() for source in sources.split()} == {"'none'", "'self'"}
    assert not re.findall(r"<style| style=| on\w+=|<script(?![^>]* src=)", page)
    files = re.findall(r'<(?:script|img|link)[^>]* (?:src|href)="([^"]*)"', page)
    assert len(files) == 10
    assert all(file.startswith("/static/farmlokal/") for file in files)
    assert not answer.cookies


def test_each_module_is_announced_to_the_browser(client: Client) -> None:
    """Otherwise a browser finds a module only after the one that imports it has arrived."""
    page = client.get("/").content.decode()
    files = {path.name for path in (Path(home.__file__).parent / "static/farmlokal/home").iterdir()}
    assert set(re.findall(r"farmlokal/home/(\w+\.js)", page)) == files


def test_page_says_how_large_the_catalogue_is(client: Client) -> None:
    statistics.reset()
    make_offers({"name": f"Mango {n}"} for n in range(7))
    with CaptureQueriesContext(connection) as captured:
        page = client.get("/").content.decode()
    assert re.findall("<dd>(.*?)</dd>", page)[:2] == ["7", "1"]
    assert '<option value="spices">Spices</option>' in page
    assert len(captured) <= 9
    with CaptureQueriesContext(connection) as captured:
        assert client.get("/").content.decode() == page
    assert len(captured) == 0


def test_sizes_are_left_out_while_mysql_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "readiness", lambda: document("unavailable"))
    page = client.get("/").content.decode()
    assert re.findall("<dd>(.*?)</dd>", page)[:4] == ["\N{EN DASH}"] * 4


def test_only_get_and_head_are_allowed(client: Client) -> None:
    assert client.head("/").content == b""
    post = client.post("/")
    assert (post.status_code, post.json()["code"]) == (405, "method-not-allowed")


def test_page_is_not_rate_limited() -> None:
    assert not routes.find("/").is_rate_limited


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/admin/", "/admin/products/farm/", "/admin/accounts/user/add/"]
)
def test_every_page_names_the_icon(admin_client: Client, path: str) -> None:
    page = admin_client.get(path).content.decode()
    (icon,) = re.findall('<link rel="icon" href="([^"]*)">', page)
    assert_is_icon(admin_client, icon)


def test_login_page_names_the_icon(client: Client) -> None:
    assert 'rel="icon"' in client.get("/admin/login/").content.decode()


def test_favicon_leads_to_the_icon(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert_is_icon(client, answer["Location"])
    assert client.post("/favicon.ico").status_code == 405


def assert_is_icon(client: Client, url: str) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/svg+xml")
