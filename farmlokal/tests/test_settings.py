"""A missing or bad variable stops the start with one line that names it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dev.testing.servers import GUNICORN

GOOD = {
    "PATH": os.environ["PATH"],
    "SECRET_KEY": "x" * 60,
    "ALLOWED_HOSTS": "localhost",
    "DATABASE_URL": "mysql://user:secret@db.example:3306/farmlokal",
    "REDIS_URL": "redis://cache.example:6379/0",
}
WEBHOOK_KEY = "whsec_" + "QUFB" * 8  # 24 bytes
REQUIRED = ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"]
OPTIONAL = [
    line.partition("=")[0]
    for line in Path(".env.example").read_text().splitlines()
    if re.match("[A-Z_]+=", line) and line.partition("=")[0] not in REQUIRED
]
BAD = [
    ("SECRET_KEY", None),
    ("SECRET_KEY", ""),
    ("ALLOWED_HOSTS", None),
    ("ALLOWED_HOSTS", ""),
    ("ALLOWED_HOSTS", ","),
    ("ALLOWED_HOSTS", "http://localhost/"),
    ("SECRET_KEY", "  "),
    ("SECRET_KEY", "short"),
    ("SECRET_KEY", "x" * 49),
    ("SECRET_KEY_FALLBACKS", "old,"),
    ("SECRET_KEY_FALLBACKS", "short"),
    ("CORS_ALLOWED_ORIGINS", "shop.example"),
    ("CORS_ALLOWED_ORIGINS", "https://shop.example/"),
    ("CORS_ALLOWED_ORIGINS", "*"),
    ("TRUST_FORWARDED_HOST", "perhaps"),
    ("PARTNER_API_URL", "https://partner.example:port"),
    ("PARTNER_API_URL", "https://partner.example:99999"),
    ("DATABASE_URL", None),
    ("DATABASE_URL", ""),
    ("DATABASE_URL", "postgres://user:secret@db.example/farmlokal"),
    ("DATABASE_URL", "mysql://user:secret@db.example/farmlokal?sslmode=require"),
    ("DATABASE_REPLICA_URL", "db.example"),
    ("DATABASE_REPLICA_URL", "mysql://user:secret@a.example/farm, b.example"),
    ("REDIS_URL", None),
    ("REDIS_URL", ""),
    ("REDIS_URL", "redis://:secret@/0"),
    ("REDIS_URL", "rediss://cache.example/0?ssl_cert_reqs=perhaps"),
    ("REDIS_KEY_PREFIX", "my.shop"),
    ("REDIS_KEY_PREFIX", "{shop}"),
    ("DATABASE_FOREIGN_KEYS", "no"),
    ("DEBUG", "perhaps"),
    ("TRUSTED_PROXY_HOPS", "-1"),
    ("TRUSTED_PROXY_HOPS", "one"),
    ("LOG_LEVEL", "LOUD"),
    ("ACCESS_LOG", "yes"),
    ("LOG_FORMAT", "xml"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
    ("OTEL_TRACES_SAMPLER", "sometimes"),
    ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer secret"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret,"),
    ("SENTRY_DSN", "https://sentry.example/7"),
    ("SENTRY_DSN", "https://:secret@sentry.example/7"),
    ("SENTRY_DSN", "https://secret@sentry.example:port/7"),
    ("SENTRY_DSN", "https://secret@sentry.example/seven7"),
    ("OAUTH_ISSUER", "not a url"),
    ("METRICS_TOKEN", "ü"),
    ("METRICS_TOKEN", "two words"),
    ("METRICS", "yes"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "100000"),
    ("PARTNER_API_URL", "partner.example"),
    ("PARTNER_DEADLINE_SECONDS", "0"),
    ("PARTNER_DEADLINE_SECONDS", "soon"),
    ("PARTNER_WEBHOOK_SECRETS", "whsec_"),
    ("PARTNER_WEBHOOK_SECRETS", "whsec_not/base64!"),
    ("PARTNER_WEBHOOK_SECRETS", "whsec_A"),
    ("PARTNER_WEBHOOK_SECRETS", f"{WEBHOOK_KEY},"),
    ("PARTNER_WEBHOOK_SECRETS", f"v1,{WEBHOOK_KEY}"),
    ("PARTNER_WEBHOOK_SECRETS", f"{WEBHOOK_KEY},QUFB"),
    ("PARTNER_WEBHOOK_SECRETS", WEBHOOK_KEY[:-4]),
    ("PARTNER_WEBHOOK_SECRETS", "hush"),
    ("PARTNER_WEBHOOK_SECRETS", "abcd"),
    ("REDIS_HASH_TAGS", "0"),
    ("REDIS_HASH_TAGS", "65"),
    ("PORT", "70000"),
    ("PORT", "http"),
]


def start(command: list[str], name: str, value: str | None) -> subprocess.CompletedProcess[str]:
    environment = GOOD | ({} if value is None else {name: value})
    if value is None:
        del environment[name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_variable_is_named_in_one_line(name: str, value: str | None) -> None:
    done = start([sys.executable, "manage.py", "check"], name, value)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f'"{name}"' in line
    assert "[" not in line
    assert "secret" not in line


def test_gunicorn_stops_the_same_way() -> None:
    done = start([GUNICORN], "SECRET_KEY", None)
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert '"SECRET_KEY"' in line


def run(command: str, changes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command.split()], env=GOOD | changes, capture_output=True, text=True, check=False
    )


def shown(*names: str, **changes: str) -> str:
    """Print these settings in a process with this environment."""
    expression = ", ".join(f"settings.{name}" for name in names)
    code = f"from django.conf import settings; print([{expression}])"
    command = [sys.executable, "-c", code]
    environment = GOOD | {"DJANGO_SETTINGS_MODULE": "farmlokal.settings"} | changes
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_empty_variable_means_its_default() -> None:
    assert "PORT" in OPTIONAL
    assert shown(*OPTIONAL, **dict.fromkeys(OPTIONAL, "")) == shown(*OPTIONAL)
    assert shown(*OPTIONAL, **dict.fromkeys(OPTIONAL, " \n")) == shown(*OPTIONAL)


@pytest.mark.parametrize("name", REQUIRED)
def test_empty_required_variable_is_not_set(name: str) -> None:
    assert run("check", {name: " "}).stderr == f'farmlokal: Environment variable "{name}" not set\n'


def test_whitespace_around_a_value_is_dropped() -> None:
    changes = {"REDIS_URL": f" {GOOD['REDIS_URL']}\n", "SECRET_KEY": f"{GOOD['SECRET_KEY']} ", "PORT": " 8001\n"}
    assert shown("REDIS_URL", "SECRET_KEY", "PORT", **changes) == str([GOOD["REDIS_URL"], GOOD["SECRET_KEY"], 8001])


@pytest.mark.parametrize(
    ("value", "expected"), [("on", True), ("True", True), ("1", True), ("OFF", False), ("0", False)]
)
def test_switch_understands_usual_words(value: str, expected: bool) -> None:
    assert shown("DEBUG", "METRICS", DEBUG=value, METRICS=value) == str([expected, expected])


def test_log_level_ignores_case() -> None:
    assert shown("LOG_LEVEL", LOG_LEVEL="warning") == "['WARNING']"


@pytest.mark.parametrize("name", ["OAUTH_SCOPE", "OAUTH_AUDIENCE"])
def test_scope_or_audience_needs_the_token_url(name: str) -> None:
    (line,) = run("check", {name: "given"}).stderr.splitlines()
    assert '"OAUTH_TOKEN_URL" not set' in line
    assert name in line


def test_error_tells_to_drop_v1_of_a_webhook_secret() -> None:
    (line,) = run("check", {"PARTNER_WEBHOOK_SECRETS": f"v1,{WEBHOOK_KEY}"}).stderr.splitlines()
    assert "without the v1, in front" in line


def test_plain_http_to_the_partner_or_provider_warns() -> None:
    command = [sys.executable, "manage.py", "check", "--deploy"]
    names = ("PARTNER_API_URL", "OAUTH_TOKEN_URL", "OAUTH_JWKS_URL")
    for scheme, warnings in (("http", 3), ("https", 0)):
        environment = GOOD | dict.fromkeys(names, f"{scheme}://outside.example")
        environment |= dict.fromkeys(("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"), "given")
        environment |= {"OAUTH_ISSUER": "https://outside.example", "OAUTH_API_AUDIENCE": "given"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr.count("(farmlokal.W001)") == warnings, done.stderr


@pytest.mark.parametrize(
    ("database", "redis", "warnings"),
    [
        ("mysql://u:p@roundhouse.proxy.rlwy.net:41234/railway", "rediss://cache.example/0", ["DATABASE_URL"]),
        ("mysql://u:p@8.8.8.8/farm?ssl_mode=REQUIRED", "redis://:p@8.8.8.8/0", ["REDIS_URL"]),
        ("mysql://u:p@8.8.8.8/farm", "redis://cache.example/0", ["DATABASE_URL", "REDIS_URL"]),
        ("mysql://u:p@mysql.railway.internal/farm", "redis://red-abc:6379", []),
        ("mysql://u:p@10.0.0.5/farm", "redis://[fd00::1]/0", []),
        ("mysql://u:p@localhost/farm", "unix:///run/redis.sock", []),
        ("mysql://u:p@%2Frun%2Fmysqld.sock/farm", "redis://127.0.0.1/0", []),
    ],
)
def test_plain_text_to_a_public_host_warns(database: str, redis: str, warnings: list[str]) -> None:
    done = run("check --deploy", {"DATABASE_URL": database, "REDIS_URL": redis})
    assert re.findall(r"\(farmlokal.W003\) (\w+)", done.stderr) == warnings, done.stderr
