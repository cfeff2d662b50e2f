"""The admin's login takes five attempts a minute for one name from one address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis

from accounts.models import User

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_attempts() -> None:
    redis.Redis.from_url(os.environ["REDIS_URL"]).flushdb()
    User.objects.create_superuser("asha", password="right")


def attempt(client: Client, name: str, password: str = "wrong", **headers: str) -> Any:
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post("/admin/login/?next=/admin/", {"username": name, "password": password}, headers=headers)


def attempts_allowed(client: Client, name: str, **headers: str) -> int:
    """How many attempts with a wrong password are let through: five, or up to ten across the edge of a window."""
    for n in range(11):
        if attempt(client, name, **headers).status_code == 429:
            return n
    pytest.fail("no attempt was refused")


def test_after_five_attempts_even_the_right_password_is_refused(client: Client) -> None:
    assert 5 <= attempts_allowed(client, "asha") <= 10
    refused = attempt(client, "ASHA", "right")
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert b"Too many attempts" in refused.content
    assert attempt(client, "other").status_code == 200


def test_another_address_has_attempts_of_its_own_and_cannot_be_made_up(client: Client, settings: Settings) -> None:
    attempts_allowed(client, "asha", X_Forwarded_For="203.0.113.7")
    assert attempt(client, "asha", "right", X_Forwarded_For="203.0.113.9").status_code == 429
    settings.TRUSTED_PROXY_HOPS = 1
    assert attempt(client, "asha", "right", X_Forwarded_For="203.0.113.9").status_code == 302


def test_without_redis_the_limit_holds_in_each_process(client: Client, settings: Settings) -> None:
    nobody = urlsplit(os.environ["REDIS_URL"])._replace(netloc="127.0.0.1:1").geturl()
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": nobody}}
    assert [attempt(client, "bala").status_code for _ in range(6)] == [200] * 5 + [429]
