"""manage.py doctor examines the real servers, and says what to do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import redis as redis_library
import time_machine
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer

from dev.testing.servers import Daemon, free_port
from farmlokal.doctor import mysql, outside, redis
from farmlokal.doctor.results import Result
from farmlokal.mysql.watchdog import Watchdog
from farmlokal.redis.client import Outages

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def _end_outages() -> Iterator[None]:
    yield
    Outages.end()


def by_name(results: Iterator[Result]) -> dict[str, Result]:
    return {result.name: result for result in results}


def level(results: Iterator[Result], name: str) -> str:
    return by_name(results)[name].level


# MySQL


def test_migrated_database_is_healthy() -> None:
    found = by_name(mysql.examine())
    assert {found[name].level for name in ("mysql", "mysql clock", "schema", "indexes", "collations")} == {"ok"}


def test_missing_migration_is_an_error_that_says_migrate() -> None:
    MigrationRecorder(connection).record_unapplied("products", "0008_files")
    result = by_name(mysql.examine())["schema"]
    assert (result.level, result.advice) == ("error", mysql.MIGRATE)
    assert "products.0008_files" in result.text


def test_migration_of_a_newer_release_is_a_warning() -> None:
    MigrationRecorder(connection).record_applied("products", "9999_newer")
    assert level(mysql.examine(), "schema") == "warning"


@pytest.fixture
def altered(live_database: None) -> Iterator[Any]:
    """A function that alters tables, and undoes that at the end."""
    undo: list[str] = []

    def alter(statement: str, reverse: str) -> None:
        undo.append(reverse)
        execute(statement)

    def execute(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    yield alter
    for statement in undo:
        execute(statement)


@pytest.mark.parametrize(
    ("name", "change", "back"),
    [
        (
            "indexes",
            "ALTER TABLE products_product RENAME INDEX product_category_price TO gone",
            "ALTER TABLE products_product RENAME INDEX gone TO product_category_price",
        ),
        (
            "collations",
            "ALTER TABLE products_posting MODIFY term varchar(200) COLLATE utf8mb4_general_ci NOT NULL",
            "ALTER TABLE products_posting MODIFY term varchar(200) COLLATE utf8mb4_bin NOT NULL",
        ),
    ],
)
def test_table_that_was_altered_by_hand_is_an_error(altered: Any, name: str, change: str, back: str) -> None:
    altered(change, back)
    result = by_name(mysql.examine())[name]
    assert result.level == "error"
    assert "product_category_price" in result.text or "products_posting.term" in result.text


def test_missing_table_is_an_error(altered: Any) -> None:
    altered("RENAME TABLE products_posting TO gone", "RENAME TABLE gone TO products_posting")
    result = by_name(mysql.examine())["tables"]
    assert (result.level, result.advice) == ("error", mysql.RESTORE)
    assert "products_posting" in result.text


def test_too_few_connections_are_a_warning(settings: Settings) -> None:
    settings.WEB_CONCURRENCY = 64
    assert level(mysql.examine(), "mysql connections") == "warning"


@pytest.mark.parametrize(("hours", "expected"), [(0, "ok"), (1, "error"), (-1, "error")])
def test_clock_of_this_machine_is_compared(hours: int, expected: str) -> None:
    with time_machine.travel(time.time() + hours * 3600):
        assert level(mysql.examine(), "mysql clock") == expected
        assert level(redis.examine(), "redis clock") == expected


# Redis


@pytest.fixture
def operator(redis_alone: Daemon) -> Iterator[redis_library.Redis]:
    with redis_library.Redis.from_url(redis_alone.url) as client:
        client.config_set("maxmemory", 100_000_000)
        yield client


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("volatile-lru", "ok"), ("volatile-lfu", "ok"), ("noeviction", "warning"), ("allkeys-lru", "warning")],
)
def test_policy_of_a_full_redis_is_examined(operator: redis_library.Redis, policy: str, expected: str) -> None:
    operator.config_set("maxmemory-policy", policy)
    assert level(redis.examine(), "redis policy") == expected


def test_redis_without_a_memory_limit_is_a_warning(operator: redis_library.Redis) -> None:
    operator.config_set("maxmemory", 0)
    assert level(redis.examine(), "redis policy") == "warning"


def test_read_only_redis_is_an_error(operator: redis_library.Redis) -> None:
    operator.replicaof("127.0.0.1", 1)
    result = by_name(redis.examine())["redis"]
    assert result.level == "error"
    assert "role" in result.advice


# Providers and the partner


def test_what_is_not_configured_is_skipped(settings: Settings) -> None:
    settings.OAUTH_TOKEN_URL = settings.OAUTH_JWKS_URL = settings.PARTNER_API_URL = ""
    assert {result.level for result in outside.examine()} == {"skipped"}


@pytest.fixture
def world(settings: Settings, httpserver: HTTPServer) -> HTTPServer:
    settings.OAUTH_TOKEN_URL, settings.OAUTH_CLIENT_ID = httpserver.url_for("/token"), "farmlokal"
    settings.OAUTH_JWKS_URL, settings.PARTNER_API_URL = httpserver.url_for("/keys"), httpserver.url_for("/partner")
    return httpserver


def test_provider_and_partner_that_answer_are_ok(world: HTTPServer) -> None:
    token = {"access_token": "secret-token", "token_type": "Bearer", "expires_in": 600}
    world.expect_request("/token", method="POST").respond_with_json(token)
    key = {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}
    key |= {"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "kid": "one", "alg": "ES256"}
    world.expect_request("/keys").respond_with_json({"keys": [key]})
    world.expect_request("/partner").respond_with_data(status=404)
    found = by_name(outside.examine())
    assert {result.level for result in found.values()} == {"ok"}, found
    assert "secret-token" not in str(found)


def test_refused_credentials_are_an_error_with_the_reason(world: HTTPServer) -> None:
    world.expect_request("/token").respond_with_json({"error": "invalid_client"}, status=401)
    result = by_name(outside.examine())["token provider"]
    assert (result.level, "401 invalid_client" in result.text) == ("error", True)


def test_partner_with_another_clock_is_an_error(world: HTTPServer) -> None:
    world.expect_request("/partner").respond_with_data(headers={"Date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert level(outside.examine(), "partner clock") == "error"


def test_dead_partner_is_an_error(settings: Settings) -> None:
    settings.PARTNER_API_URL = f"http://127.0.0.1:{free_port()}"
    assert level(outside.examine(), "partner") == "error"


# The command and the system checks


@pytest.fixture
def _limits_end() -> Iterator[None]:
    """The command limits the waits of its process. Later tests of this process may load many rows."""
    options = {alias: dict(database["OPTIONS"]) for alias, database in connections.settings.items()}
    yield
    Watchdog.is_on = False
    for alias, before in options.items():
        connections.settings[alias]["OPTIONS"] = before
        connections[alias].settings_dict["OPTIONS"] = before


@pytest.mark.usefixtures("_limits_end")
def test_command_prints_a_line_each_and_fails_on_errors() -> None:
    MigrationRecorder(connection).record_unapplied("products", "0008_files")
    output = StringIO()
    with pytest.raises(CommandError, match="1 error,"):
        call_command("doctor", stdout=output, no_color=True)
    lines = output.getvalue().splitlines()
    assert any(line == f"error schema: Not applied: products.0008_files. {mysql.MIGRATE}" for line in lines)
    assert all(line.split()[0] in {"ok", "skipped", "warning", "error"} for line in lines)


def test_command_ends_with_status_1_without_mysql(database_environment: dict[str, str]) -> None:
    environment = database_environment | {"DATABASE_URL": f"mysql://user:hush@127.0.0.1:{free_port()}/farmlokal"}
    command = [sys.executable, "manage.py", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "error mysql: cannot connect to DATABASE_URL" in done.stdout
    assert "ok redis:" in done.stdout
    assert "hush" not in done.stdout + done.stderr


def test_system_checks_find_the_same_only_if_asked() -> None:
    MigrationRecorder(connection).record_unapplied("products", "0008_files")
    assert not [found for found in run_checks(include_deployment_checks=True) if found.id == "farmlokal.schema"]
    found = run_checks(include_deployment_checks=True, databases=["default"])
    assert [(message.hint, message.is_serious()) for message in found if message.id == "farmlokal.schema"] == [
        (mysql.MIGRATE, True)
    ]
