"""A form that staff send after their session has ended is kept, and sent again by a click only."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django.fixtures import Settings

from accounts import expired_forms
from accounts.models import User
from dev.testing.offers import make_farm
from dev.testing.redis_keys import forget_keys
from products.models import Category, Farm

pytestmark = pytest.mark.django_db

PASSWORD = "tall-mango-tree-9"
LOGIN = "/admin/login/"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Origin": "http://testserver"}
TYPED = {"name": 'Patil & "Sons"', "district": "1"}


@pytest.fixture(autouse=True)
def _user(settings: Settings) -> None:
    forget_keys()  # login attempts of earlier tests
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    User.objects.create_superuser("asha", password=PASSWORD)


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True, headers=BROWSER)


@pytest.fixture
def farm_url() -> str:
    return f"/admin/products/farm/{make_farm().pk}/change/"


def fields_of(page: Any) -> dict[str, str]:
    """The hidden and other inputs of a page with one form."""
    inputs = re.findall(r"<input [^>]*>", page.content.decode())
    attributes = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text in inputs]
    return {each["name"]: html.unescape(each.get("value", "")) for each in attributes if "name" in each}


def log_in(browser: Client, page: Any, password: str = PASSWORD) -> Any:
    return browser.post(LOGIN, fields_of(page) | {"username": "asha", "password": password})


def with_token(browser: Client, body: dict[str, Any]) -> dict[str, Any]:
    """The body with a valid CSRF token, as in a form that the browser has opened."""
    return body | {"csrfmiddlewaretoken": fields_of(browser.get(LOGIN))["csrfmiddlewaretoken"]}


def test_typed_form_survives_the_end_of_the_session(browser: Client, farm_url: str) -> None:
    page = browser.post(farm_url, with_token(browser, TYPED))
    assert page.status_code == 403
    assert "Your session has ended" in page.content.decode()
    assert 'action="/admin/login/"' in page.content.decode()
    page = log_in(browser, page)
    assert page.status_code == 200
    assert f'action="{farm_url}"' in page.content.decode()
    assert not Farm.objects.filter(name=TYPED["name"]).exists()
    fields = fields_of(page)
    assert fields.items() >= TYPED.items()
    assert browser.post(farm_url, fields).status_code == 302
    assert Farm.objects.get().name == TYPED["name"]


def test_missing_csrf_cookie_leads_to_the_login_too(browser: Client, farm_url: str) -> None:
    page = browser.post(farm_url, TYPED)
    assert page.status_code == 403
    assert fields_of(log_in(browser, page)).items() >= TYPED.items()


def test_wrong_password_keeps_the_form(browser: Client, farm_url: str) -> None:
    page = log_in(browser, browser.post(farm_url, TYPED), "wrong")
    assert "Please enter the correct" in page.content.decode()
    assert fields_of(log_in(browser, page)).items() >= TYPED.items()


def test_login_in_another_tab_asks_before_the_form_is_sent(browser: Client, farm_url: str) -> None:
    """A login changes the CSRF token, so forms that are open in other tabs have an old one."""
    old = with_token(browser, TYPED)
    log_in(browser, browser.get(LOGIN))
    page = browser.post(farm_url, old)
    assert page.status_code == 200
    assert "Send again" in page.content.decode()
    assert not Farm.objects.filter(name=TYPED["name"]).exists()
    assert browser.post(farm_url, fields_of(page)).status_code == 302


def test_old_login_page_keeps_the_form_after_a_login_elsewhere(browser: Client, farm_url: str) -> None:
    page = browser.post(farm_url, TYPED)
    log_in(browser, browser.get(LOGIN))
    assert fields_of(log_in(browser, page)).items() >= TYPED.items()


def test_old_login_page_without_a_form_leads_to_the_login(browser: Client) -> None:
    page = browser.post(f"{LOGIN}?next=/admin/products/", {"username": "asha", "password": PASSWORD})
    assert page.status_code == 403
    assert PASSWORD not in page.content.decode()
    assert log_in(browser, page).status_code == 302


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "https://testserver"])
def test_form_of_another_site_is_not_kept(farm_url: str, origin: str | None) -> None:
    headers = {"Accept": "text/html"} | ({"Origin": origin} if origin else {})
    page = Client(enforce_csrf_checks=True, headers=headers).post(farm_url, TYPED)
    assert page.status_code == 403
    assert "Patil" not in page.content.decode()
    assert "expired_form" not in page.content.decode()


def test_scripts_still_get_a_problem(farm_url: str) -> None:
    client = Client(enforce_csrf_checks=True, headers={"Origin": "http://testserver"})
    answer = client.post(farm_url, TYPED)
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")


def test_passwords_and_files_are_not_kept(browser: Client) -> None:
    typed = {"username": "bala", "password1": PASSWORD, "old_password": PASSWORD}
    page = browser.post("/admin/accounts/user/add/", typed | {"photo": SimpleUploadedFile("a.txt", b"secret")})
    packed = fields_of(page)[expired_forms.NAME]
    assert signing.loads(packed, salt=expired_forms.SALT)[1:] == [[["username", "bala"]], True]
    assert "Choose them again" in log_in(browser, page).content.decode()


def test_too_large_form_is_not_kept(browser: Client, farm_url: str) -> None:
    page = browser.post(farm_url, {"name": "x" * (expired_forms.MAX_CHARACTERS + 1)})
    assert "is kept" not in page.content.decode()
    assert fields_of(page).get(expired_forms.NAME, "") == ""
    assert log_in(browser, page)["Location"] == farm_url


@pytest.mark.parametrize("packed", ["", "forged", "eyJhIjoxfQ:1abc:forged", "\0"])
def test_forged_form_is_ignored(browser: Client, packed: str) -> None:
    fields = fields_of(browser.get(LOGIN)) | {expired_forms.NAME: packed, "next": "https://evil.example/"}
    answer = browser.post(LOGIN, fields | {"username": "asha", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_form_without_permission_is_refused_when_it_is_sent_again(browser: Client) -> None:
    User.objects.update(is_superuser=False)
    url = f"/admin/products/category/{Category.objects.first().pk}/change/"  # type: ignore[union-attr]
    page = log_in(browser, browser.post(url, {"name": "Mine"}))
    assert browser.post(url, fields_of(page)).status_code == 403
    assert not Category.objects.filter(name="Mine").exists()


def test_logout_and_password_change_need_no_second_form(browser: Client) -> None:
    for path in ("logout/", "password_change/"):
        answer = browser.post(f"/admin/{path}", with_token(browser, {"old_password": PASSWORD}))
        assert answer.status_code == 302
