"""/readyz tests that Redis does what the service needs, and costs the servers little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.test import Client
from pytest_django.fixtures import Settings

from dev.testing.databases import REPLICAS_UP
from dev.testing.servers import Daemon
from farmlokal import health
from farmlokal.redis.client import Outages
from farmlokal.redis.scripts import HASH_TAGS

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(health, "_checks", health.Latest(health._ask_all).get)
    yield
    Outages.end()


@pytest.fixture
def own(redis_alone: Daemon, settings: Settings) -> Iterator[redis.Redis]:
    """Return an operator's client of the Redis that the service uses."""
    url = redis_alone.url.replace("//", "//limited:secret@")
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": url}}
    with redis.Redis.from_url(redis_alone.url) as operator:
        allow(operator, "~*", "+@all")
        yield operator


def allow(operator: redis.Redis, *rules: str) -> None:
    operator.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules)  # type: ignore[no-untyped-call]


def fill(operator: redis.Redis) -> None:
    operator.config_set("maxmemory-policy", "noeviction")
    operator.config_set("maxmemory", 1)


def ready(client: Client) -> tuple[int, Any]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()


BREAKERS = {"partner": "closed"}
REFUSALS: dict[str, tuple[str, Callable[[redis.Redis], object]]] = {
    "scripts": ("down", lambda operator: allow(operator, "~*", "+@all", "-@scripting")),
    "our keys": ("down", lambda operator: allow(operator, "~others:*", "+@all")),
    "writes": ("read-only", lambda operator: operator.replicaof("127.0.0.1", 1)),
    "commands that need memory": ("down", fill),
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_redis_that_refuses_commands_is_not_up(client: Client, own: redis.Redis, refused: str) -> None:
    state, refuse = REFUSALS[refused]
    refuse(own)
    assert own.ping()
    checks = {"mysql": "up", "redis": state, **REPLICAS_UP}
    degraded = {"status": "degraded", "checks": checks, "breakers": BREAKERS}
    assert ready(client) == (200, degraded)
    assert 'farmlokal_dependency_up{name="redis"} 0.0' in client.get("/metrics").content.decode()


def test_redis_that_allows_only_our_keys_is_up(client: Client, own: redis.Redis) -> None:
    allow(own, *(f"~{tag}*" for tag in HASH_TAGS), "+@all", "-@dangerous")
    up = {"status": "ok", "checks": {"mysql": "up", "redis": "up", **REPLICAS_UP}, "breakers": BREAKERS}
    assert ready(client) == (200, up)
    assert own.keys() == []
    assert 'farmlokal_dependency_up{name="redis"} 1.0' in client.get("/metrics").content.decode()


def test_concurrent_requests_share_one_check(own: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_LIFETIME_SECONDS", 60)
    checks = health.Latest(health._ask_all)
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: checks.get(), range(100)))
    assert results == [{"mysql": "up", "redis": "up", **REPLICAS_UP}] * 100
    assert own.info("commandstats")["cmdstat_set"]["calls"] == 1


def test_expired_check_is_repeated(own: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_LIFETIME_SECONDS", 0)
    checks = health.Latest(health._ask_all)
    assert checks.get()["redis"] == "up"
    fill(own)
    assert checks.get()["redis"] == "down"
