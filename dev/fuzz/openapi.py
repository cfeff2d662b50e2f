"""The part of schemathesis: valid and invalid requests by the OpenAPI document, and links between operations.

As its hooks, this module also writes a line for each response to the file FUZZ_RESPONSES.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis

from dev.testing import schemathesis_hooks

hooks = schemathesis_hooks  # importing it has registered them
CONFIGURATION = """
hooks = "dev.fuzz.openapi"
continue-on-failure = true
suppress-health-check = ["too_slow"]
[generation]
mode = "all"
database = "none"
"""
# Measured: the phases "examples" and "coverage", and what one more example of each of the 13 operations adds.
BASE_REQUESTS, REQUESTS_AN_EXAMPLE = 1_000, 14


@schemathesis.hook
def after_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], response: Any) -> None:
    if path := os.environ.get("FUZZ_RESPONSES"):
        sent = f"{response.request.method} {response.request.url}" if response.request else case.path
        with Path(path).open("a") as lines:
            lines.write(json.dumps([response.status_code, sent]) + "\n")


def start(url: str, requests: int, seed: int, token: str, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "run"]
    command += [f"{url}/openapi.json", "--url", url, "--header", f"Authorization: Bearer {token}", "--no-color"]
    command += ["--checks", "not_a_server_error", "--seed", str(seed)]
    command += ["--max-examples", str(max((requests - BASE_REQUESTS) // REQUESTS_AN_EXAMPLE, 1))]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "FUZZ_RESPONSES": str(_responses(folder))}
    with (folder / "schemathesis.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)


def responses(folder: Path) -> Iterator[tuple[int, str]]:
    """Status and request line of each."""
    if _responses(folder).exists():
        for line in _responses(folder).read_text().splitlines():
            status, sent = json.loads(line)
            yield status, sent


def _responses(folder: Path) -> Path:
    return folder / "responses.jsonl"
