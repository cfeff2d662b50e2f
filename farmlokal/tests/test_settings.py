"""A missing or bad variable stops the start with one line that names it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farmlokal.tests.server import GUNICORN

GOOD = {
    "PATH": os.environ["PATH"],
    "SECRET_KEY": "x" * 60,
    "ALLOWED_HOSTS": "localhost",
    "DATABASE_URL": "mysql://user:secret@db.example:3306/farmlokal",
    "REDIS_URL": "redis://cache.example:6379/0",
}
WEBHOOK_KEY = "whsec_" + "QUFB" * 8  # 24 bytes
BAD = [
    ("SECRET_KEY", None),
    ("SECRET_KEY", ""),
    ("ALLOWED_HOSTS", None),
    ("ALLOWED_HOSTS", ""),
    ("ALLOWED_HOSTS", ","),
    ("ALLOWED_HOSTS", "http://localhost/"),
    ("SECRET_KEY", "  "),
    ("SECRET_KEY_FALLBACKS", "old,"),
    ("DATABASE_URL", None),
    ("DATABASE_URL", ""),
    ("DATABASE_URL", "postgres://user:secret@db.example/farmlokal"),
    ("DATABASE_URL", "mysql://user:secret@db.example/farmlokal?sslmode=require"),
    ("REDIS_URL", None),
    ("REDIS_URL", ""),
    ("REDIS_URL", "redis://:secret@/0"),
    ("REDIS_URL", "rediss://cache.example/0?ssl_cert_reqs=perhaps"),
    ("DEBUG", "perhaps"),
    ("TRUSTED_PROXY_HOPS", "-1"),
    ("TRUSTED_PROXY_HOPS", "one"),
    ("LOG_LEVEL", "LOUD"),
    ("ACCESS_LOG", "yes"),
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
    ("PORT", "70000"),
    ("PORT", "http"),
]


def start(command: list[str], name: str, value: str | None) -> subprocess.CompletedProcess[str]:
    environment = GOOD | ({} if value is None else {name: value})
    if value is None:
        del environment[name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_variable_is_named_in_one_line(name: str, value: str | None) -> None:
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


def test_plain_http_to_the_outside_is_warned_of() -> None:
    command = [sys.executable, "manage.py", "check", "--deploy"]
    names = ("PARTNER_API_URL", "OAUTH_TOKEN_URL", "OAUTH_JWKS_URL")
    for scheme, warnings in (("http", 3), ("https", 0)):
        environment = GOOD | dict.fromkeys(names, f"{scheme}://outside.example")
        environment |= dict.fromkeys(("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"), "given")
        environment |= dict.fromkeys(("OAUTH_ISSUER", "OAUTH_API_AUDIENCE"), "given")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr.count("(farmlokal.W001)") == warnings, done.stderr


def run(command: str, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command.split()], env=GOOD | given, capture_output=True, text=True, check=False
    )


def test_line_says_to_drop_v1_of_a_webhook_secret() -> None:
    (line,) = run("check", {"PARTNER_WEBHOOK_SECRETS": f"v1,{WEBHOOK_KEY}"}).stderr.splitlines()
    assert "without the v1, in front" in line
