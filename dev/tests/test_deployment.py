"""Deployment files agree with the settings, and their commands run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_django.fixtures import Settings

from farmlokal.ratelimit.client_identity import client_of

PROJECT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
RENDER: dict[str, Any] = yaml.safe_load((PROJECT / "render.yaml").read_text())
REPLIT = tomllib.loads((PROJECT / ".replit").read_text())
EXAMPLE = (PROJECT / ".env.example").read_text().splitlines()
DATABASE_URL = "mysql://user:secret@db.example/farmlokal?ssl_ca=/etc/ssl/certs/ca-certificates.crt"
RENDER_GENERATED_VALUE = "B0jrphAPOY7pg92AN0c9MN4yecczLMdwnx4OkA1KFUk="  # base64 of 256 bits


def setting_names() -> set[str]:
    names = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (PROJECT / "farmlokal/settings.py").read_text())
    return {name for name in names if not name.startswith("RENDER_")}


def render_variables(kind: str) -> dict[str, dict[str, Any]]:
    (service,) = [service for service in RENDER["services"] if service["type"] == kind]
    return {variable["key"]: variable for variable in service["envVars"]}


def example_values() -> dict[str, str]:
    return dict(line.split("=", 1) for line in EXAMPLE if line and not line.startswith("#"))


VARIABLES = {
    ".env.example": set(example_values()),
    "compose.yaml": {*COMPOSE["services"]["web"]["environment"], "PORT"},  # the published port; inside it is 8000
    "render.yaml": {*render_variables("web"), "PORT"},  # Render sets it
}


@pytest.mark.parametrize("file", VARIABLES)
def test_each_file_names_each_setting(file: str) -> None:
    assert {"SECRET_KEY", "PARTNER_DEADLINE_SECONDS", "PORT"} <= setting_names()
    assert setting_names() - VARIABLES[file] == set()
    assert VARIABLES[file] == VARIABLES[".env.example"]


def run_with_settings(variables: dict[str, str], code: str = "") -> str:
    """Read the settings from exactly these variables, run code, and return its output."""
    command = [sys.executable, "-c", f"from farmlokal import settings; {code}"]
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


# .env.example


def test_env_example_needs_only_required_settings() -> None:
    """`docker run --env-file` takes all after the = as the value, comments included."""
    assert not [line for line in example_values().values() if "#" in line]
    required = {
        "SECRET_KEY": "x" * 60,
        "ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": DATABASE_URL,
        "REDIS_URL": "redis://redis.example/0",
    }
    run_with_settings(example_values() | required)


# Render


def render_environment(kind: str, **inputs: str) -> dict[str, str]:
    """The environment of a service on Render; inputs are entered in the dashboard, all else stays empty."""
    environment = {"RENDER": "true", "SECRET_KEY": "x" * 60, **inputs}
    for name, variable in render_variables(kind).items():
        if "value" in variable:
            environment[name] = variable["value"]
        elif "generateValue" in variable:
            environment[name] = RENDER_GENERATED_VALUE
        elif "fromService" in variable:
            source = variable["fromService"]
            redis = source.get("property") == "connectionString"
            environment[name] = "redis://red-abc123:6379" if redis else render_environment("web", **inputs)[name]
    return environment


def test_render_allows_exactly_its_own_host_by_default() -> None:
    environment = render_environment("web", DATABASE_URL=DATABASE_URL, RENDER_EXTERNAL_HOSTNAME="shop-x1.onrender.com")
    assert run_with_settings(environment, "print(settings.ALLOWED_HOSTS)") == "['shop-x1.onrender.com']\n"


def test_allowed_hosts_replaces_the_render_host() -> None:
    environment = render_environment("web", DATABASE_URL=DATABASE_URL, RENDER_EXTERNAL_HOSTNAME="shop-x1.onrender.com")
    environment["ALLOWED_HOSTS"] = "api.example.in"
    assert run_with_settings(environment, "print(settings.ALLOWED_HOSTS)") == "['api.example.in']\n"


def test_render_job_starts_without_a_hostname() -> None:
    run_with_settings(render_environment("cron", DATABASE_URL=DATABASE_URL, RENDER_EXTERNAL_HOSTNAME=""))


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        # Received by services on Render; the last client sent a forged entry.
        ("81.97.145.24, 172.71.195.123, 10.226.90.65", "81.97.145.24"),
        ("1.1.1.1, 172.70.247.28, 10.19.6.53", "1.1.1.1"),
        ("2.2.2.2,1.1.1.1, 172.71.95.118, 10.19.64.237", "1.1.1.1"),
    ],
)
def test_client_behind_render_is_not_taken_for_a_proxy(settings: Settings, forwarded: str, client: str) -> None:
    settings.TRUSTED_PROXY_HOPS = int(render_variables("web")["TRUSTED_PROXY_HOPS"]["value"])
    assert client_of("10.19.6.53", forwarded) == client


# Docker Compose


def container_secrets(home: Path, **variables: str) -> list[str]:
    """The secrets that the entrypoint in compose.yaml gives a command."""
    *shell, script, name = COMPOSE["services"]["web"]["entrypoint"]
    script = script.replace("$$", "$").replace("/home/farmlokal", str(home)).replace("cd /app", "")
    command = [*shell, script, name, "sh", "-c", 'echo "$SECRET_KEY" "$PARTNER_WEBHOOK_SECRETS"']
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_compose_secrets_are_random_and_persistent(tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "other"]
    for home in homes:
        home.mkdir()
    first, other = (container_secrets(home) for home in homes)
    assert container_secrets(homes[0]) == first
    assert not set(first) & set(other)
    environment = {
        "SECRET_KEY": first[0],
        "PARTNER_WEBHOOK_SECRETS": first[1],
        "ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": COMPOSE["services"]["web"]["environment"]["DATABASE_URL"],
        "REDIS_URL": COMPOSE["services"]["web"]["environment"]["REDIS_URL"],
    }
    run_with_settings(environment)
    assert len(first[0]) == 64


def test_set_secrets_replace_those_of_compose(tmp_path: Path) -> None:
    secrets = {"SECRET_KEY": "ours", "PARTNER_WEBHOOK_SECRETS": "whsec_ours"}
    assert container_secrets(tmp_path, **secrets) == list(secrets.values())


def test_compose_publishes_ports_on_loopback_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


# The image


def copy_image_files(target: Path) -> set[str]:
    """Copy what `COPY . .` copies: the files in git that no line of .dockerignore matches."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line and not line.startswith("#")]
    git = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    copied = set()
    for name in git.stdout.splitlines():
        path = Path(name)
        candidates = [*path.parts, *(str(parent) for parent in path.parents), name]
        if not any(fnmatchcase(candidate, pattern) for candidate in candidates for pattern in patterns):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / path, target / path)
            copied.add(name)
    return copied


def test_image_starts_without_sandbox_and_tests(tmp_path: Path) -> None:
    files = copy_image_files(tmp_path)
    assert {"manage.py", "gunicorn.conf.py", "integrations/client.py", "integrations/breaker/admit_call.lua"} <= files
    assert not [name for name in files if re.search("sandbox|/tests/|^dev/", name)]
    environment = {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": "x" * 60,
        "ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": "mysql://user:secret@127.0.0.1:1/farmlokal",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    for command in (["check"], ["help"], ["help", "breaker"]):
        run = [sys.executable, "manage.py", *command]
        done = subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    mounts = [mount.split(":")[0].removeprefix("./") for mount in COMPOSE["services"]["sandbox"]["volumes"]]
    assert {"integrations/sandbox", "integrations/management/commands/partner_sandbox.py"} <= set(mounts)


# Replit


@pytest.mark.parametrize("domain", ["", "x1.replit.dev"])
def test_replit_allows_its_domain_if_set(domain: str) -> None:
    *shell, script = REPLIT["run"]
    command = [*shell, script.replace("make run", "printenv ALLOWED_HOSTS")]
    environment = {"PATH": os.environ["PATH"], "REPLIT_DEV_DOMAIN": domain}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.strip().split(",") == ["localhost", "127.0.0.1", *filter(None, [domain])]


# Start commands


def start_commands() -> list[str]:
    docker = re.findall(r'CMD \["sh", "-c", "(.*)"\]', Path(PROJECT, "Dockerfile").read_text())
    return [*docker, *re.findall("web: (.*)", Path(PROJECT, "Procfile").read_text())]


@pytest.mark.parametrize("command", start_commands())
def test_start_command_accepts_an_empty_web_concurrency(command: str) -> None:
    """gunicorn reads the variable before our settings do, and fails with a traceback if it is empty."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "WEB_CONCURRENCY": ""}
    done = subprocess.run(
        ["sh", "-c", f"{command} --check-config"],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
