"""Deployment files agree with the settings, and their commands run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft202012Validator
from pytest_django.fixtures import Settings

from dev.rehearsal import dockerfile
from dev.testing.deployment import COMPOSE, PROJECT, RENDER, copy_image_files, render_environment, render_variables
from dev.tests.render_blueprint import BLUEPRINT
from farmlokal.ratelimit.client_identity import client_of

REPLIT = tomllib.loads((PROJECT / ".replit").read_text())
EXAMPLE = (PROJECT / ".env.example").read_text().splitlines()
DATABASE_URL = "mysql://user:secret@db.example/farmlokal?ssl_ca=/etc/ssl/certs/ca-certificates.crt"


def setting_names() -> set[str]:
    names = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (PROJECT / "farmlokal/settings.py").read_text())
    return {name for name in names if not name.startswith("RENDER_")}


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


# Every field


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compose-spec", "compose.yaml"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-workflows", ".github/workflows/test.yml"),
        ("github-workflows", ".github/workflows/audit.yml"),
    ],
)
def test_file_fits_its_official_schema(schema: str, file: str) -> None:
    """check-jsonschema ships the schemas."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", file]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_render_yaml_has_only_fields_that_render_documents() -> None:
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(BLUEPRINT).iter_errors(RENDER)]
    assert not errors


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["services", 0, "healthcheckPath"], "/livez"),
        (["services", 0, "region"], "mumbai"),
        (["services", 0, "envVars", 0, "synced"], False),
        (["services", 0, "envVars", 5, "value"], 3),
        (["services", 1, "schedule"], "30 21 * *"),
        (["services", 2, "maxmemoryPolicy"], "lru"),
    ],
)
def test_wrong_field_of_render_yaml_is_found(path: list[str | int], value: object) -> None:
    wrong: Any = deepcopy(RENDER)
    place = reduce(getitem, path[:-1], wrong)
    place[path[-1]] = value
    assert not Draft202012Validator(BLUEPRINT).is_valid(wrong)


def test_render_services_refer_to_each_other() -> None:
    services = {(service["type"], service["name"]): service for service in RENDER["services"]}
    for kind in ("web", "cron"):
        for variable in render_variables(kind).values():
            if source := variable.get("fromService"):
                found = services[source["type"], source["name"]]
                assert source.get("envVarKey") in {None, *(each["key"] for each in found.get("envVars", []))}


# The supply chain


def test_images_are_pinned_by_digest() -> None:
    images = [service["image"] for service in COMPOSE["services"].values() if "image" in service]
    stages = re.findall("^FROM (\\S+)(?: AS (\\S+))?$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    images += [image for image, _ in stages if image not in {name for _, name in stages}]
    assert len(images) == 3
    assert [image for image in images if not re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", image)] == []


def test_actions_are_pinned_by_commit() -> None:
    files = (PROJECT / ".github/workflows").glob("*.yml")
    used = [action for file in files for action in re.findall("uses: (.*)", file.read_text())]
    assert len(used) >= 4
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)] == []


def test_containers_may_write_only_to_tmp_and_home() -> None:
    assert "\nUSER 1000:1000\n" in (PROJECT / "Dockerfile").read_text()
    for name in ("web", "jobs", "sandbox"):
        service = COMPOSE["services"][name]
        assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, "/tmp", ["ALL"])  # noqa: S108
        writable = [mount for mount in service["volumes"] if not mount.endswith(":ro")]
        assert writable == ["home:/home/farmlokal"]


def test_sbom_lists_each_requirement(tmp_path: Path) -> None:
    sbom = tmp_path / "sbom.json"
    subprocess.run(["dev/sbom.sh", sbom], cwd=PROJECT, capture_output=True, check=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.read_text()) is None
    components = json.loads(sbom.read_text())["components"]
    pinned = re.findall(r"^([\w.-]+)(?:\[.*\])?==([\w.]+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert {(each["name"], each["version"]) for each in components} == set(pinned)


# make rehearse


def test_rehearsal_knows_each_step_of_the_dockerfile() -> None:
    stages = dockerfile.read(PROJECT / "Dockerfile")
    assert [(stage.name, stage.base.partition("@")[0]) for stage in stages[1:]] == [("build", "base"), ("", "base")]
    image = dockerfile.image_of(stages, {"PATH": "/bin"})
    assert (image.user, image.folder, image.environment["PATH"]) == ("1000:1000", "/app", "/venv/bin:/bin")
    assert image.command[:2] == ["sh", "-c"]


def test_rehearsal_refuses_an_unknown_instruction(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM scratch\nADD https://example.com/x /\n")
    with pytest.raises(ValueError, match="does not know ADD"):
        dockerfile.read(file)
