"""The limits of the admin's login: for an address, for a name from one address, and for a name from all addresses."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.admin_site import PER_ADDRESS, PER_NAME, PER_NAME_AND_ADDRESS
from accounts.models import User
from dev.testing.redis_keys import forget_keys

pytestmark = pytest.mark.django_db

SPELLINGS_OF_ASHA = ["ASHA", "Asha", "asha ", "\u00a0asha", "ａｓｈａ", "aſha"]  # noqa: RUF001


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """The clock stands still, so no window ends during a test."""
    with time_machine.travel(time.time(), tick=False) as coordinates:
        yield coordinates


class CountingHasher(PBKDF2PasswordHasher):
    iterations = 1
    hashed = 0

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        type(self).hashed += 1
        return super().encode(password, salt, iterations)


@pytest.fixture(autouse=True)
def _asha(settings: Settings, clock: time_machine.Traveller) -> None:
    forget_keys()
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    settings.TRUSTED_PROXY_HOPS = 1
    User.objects.create_superuser("asha", password="right")
    CountingHasher.hashed = 0


def attempt(client: Client, name: str, password: str = "wrong", address: str = "203.0.113.1") -> Any:
    body = {"username": name, "password": password}
    return client.post("/admin/login/?next=/admin/", body, headers={"X-Forwarded-For": address})


def addresses() -> Iterator[str]:
    return (f"10.0.{n // 250}.{n % 250 + 1}" for n in itertools.count())


def count_until_refused(attempts: Iterable[Any]) -> int:
    for n, answer in enumerate(itertools.islice(attempts, 200)):
        if answer.status_code == 429:
            return n
    pytest.fail("no attempt was refused")


def test_name_is_limited_per_address(client: Client) -> None:
    assert count_until_refused(attempt(client, "asha") for _ in itertools.count()) == PER_NAME_AND_ADDRESS.quota
    refused = attempt(client, "asha", "right")
    assert refused.status_code == 429
    assert refused["Content-Type"].startswith("text/html")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert b"Too many attempts" in refused.content
    assert attempt(client, "other").status_code == 200
    assert attempt(client, "asha", "right", "203.0.113.2").status_code == 302


def test_limit_ends_with_its_window(client: Client, clock: time_machine.Traveller) -> None:
    count_until_refused(attempt(client, "asha") for _ in itertools.count())
    wait = int(attempt(client, "asha", "right")["Retry-After"])
    clock.shift(wait + 1)
    assert attempt(client, "asha", "right").status_code == 302


def test_address_is_limited_over_all_names(client: Client) -> None:
    assert count_until_refused(attempt(client, f"u{n}") for n in itertools.count()) == PER_ADDRESS.quota
    assert attempt(client, "asha", "right").status_code == 429
    assert attempt(client, "asha", "right", "203.0.113.2").status_code == 302


def test_refused_attempt_hashes_no_password(client: Client) -> None:
    passed = count_until_refused(attempt(client, f"u{n}") for n in itertools.count())
    attempt(client, "asha", "right")
    assert CountingHasher.hashed == passed


@pytest.mark.parametrize("name", ["asha", "nobody"])
def test_name_is_limited_over_all_addresses(client: Client, name: str) -> None:
    attempts = (attempt(client, name, address=address) for address in addresses())
    assert count_until_refused(attempts) == PER_NAME.quota
    refused = attempt(client, name, "right")
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 300


def test_browser_that_logged_in_before_is_not_locked_out() -> None:
    known, stranger = Client(), Client()
    cookie = attempt(known, "Asha", "right").cookies["known_browser"]
    assert cookie["path"] == "/admin/login/"
    assert cookie["httponly"]
    count_until_refused(attempt(stranger, "asha", address=address) for address in addresses())
    assert attempt(stranger, "asha", "right").status_code == 429
    assert attempt(known, "asha", "right").status_code == 302


def test_known_browser_has_its_own_limit() -> None:
    known = Client()
    attempt(known, "asha", "right")
    attempts = (attempt(known, "asha", address=address) for address in addresses())
    assert count_until_refused(attempts) == PER_NAME.quota


def test_browser_is_known_for_its_own_name_only() -> None:
    User.objects.create_superuser("bala", password="right")
    browser = Client()
    attempt(browser, "bala", "right")
    count_until_refused(attempt(Client(), "asha", address=address) for address in addresses())
    assert attempt(browser, "asha", "right").status_code == 429


@pytest.mark.parametrize("spelling", SPELLINGS_OF_ASHA)
def test_spellings_of_a_name_share_one_limit(client: Client, spelling: str) -> None:
    names = itertools.cycle(["asha", spelling])
    assert count_until_refused(attempt(client, name) for name in names) == PER_NAME_AND_ADDRESS.quota
    assert attempt(client, spelling, "right").status_code == 429


@pytest.mark.parametrize("spelling", SPELLINGS_OF_ASHA)
def test_case_of_a_name_does_not_matter(client: Client, spelling: str) -> None:
    assert attempt(client, spelling, "right").status_code == 302


@pytest.mark.parametrize("spelling", ["áshà", "asĥa", "as\u0301ha"])
def test_accented_spelling_is_another_name(client: Client, spelling: str) -> None:
    """MySQL compares them as equal."""
    assert User.objects.filter(username=spelling).exists()
    assert attempt(client, spelling, "right").status_code == 200


def test_address_cannot_be_forged(client: Client, settings: Settings) -> None:
    settings.TRUSTED_PROXY_HOPS = 0
    attempts = (attempt(client, "asha", address=address) for address in addresses())
    assert count_until_refused(attempts) == PER_NAME_AND_ADDRESS.quota


def test_without_redis_each_process_keeps_the_limits(client: Client, settings: Settings) -> None:
    unreachable = urlsplit(os.environ["REDIS_URL"])._replace(netloc="127.0.0.1:1").geturl()
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": unreachable}}
    assert [attempt(client, "bala", address="203.0.113.8").status_code for _ in range(6)] == [200] * 5 + [429]
    attempts = (attempt(client, f"v{n}", address="203.0.113.9") for n in itertools.count())
    assert count_until_refused(attempts) >= PER_ADDRESS.quota
