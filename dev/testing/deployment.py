"""What the deployment files say: the environment of a service on Render, and the files of the image."""

from __future__ import annotations

import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
RENDER: dict[str, Any] = yaml.safe_load((PROJECT / "render.yaml").read_text())
RENDER_GENERATED_VALUE = "B0jrphAPOY7pg92AN0c9MN4yecczLMdwnx4OkA1KFUk="  # base64 of 256 bits


def render_service(kind: str) -> dict[str, Any]:
    """The only service of this type."""
    (service,) = [service for service in RENDER["services"] if service["type"] == kind]
    found: dict[str, Any] = service
    return found


def render_variables(kind: str) -> dict[str, dict[str, Any]]:
    return {variable["key"]: variable for variable in render_service(kind)["envVars"]}


def render_environment(kind: str, redis_url: str = "redis://red-abc123:6379", **inputs: str) -> dict[str, str]:
    """The environment of a service on Render; inputs are entered in the dashboard, all else stays empty."""
    environment = {"RENDER": "true", "SECRET_KEY": "x" * 60, **inputs}
    for name, variable in render_variables(kind).items():
        if "value" in variable:
            environment[name] = variable["value"]
        elif "generateValue" in variable:
            environment[name] = RENDER_GENERATED_VALUE
        elif "fromService" in variable:
            is_redis = variable["fromService"].get("property") == "connectionString"
            environment[name] = redis_url if is_redis else render_environment("web", **inputs)[name]
    return environment


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
