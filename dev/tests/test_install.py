"""install.sh and the pinned requirements."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", [f"requirements{kind}.txt" for kind in ("", "-dev", "-telemetry", "-sentry")])
def test_requirements_have_hashes_and_no_urls(file: str) -> None:
    requirements = re.split(r"(?<!\\)\n+(?! )", (PROJECT / file).read_text().strip())
    pinned = [each for each in requirements if not each.startswith("#")]
    assert pinned
    assert [each for each in pinned if "==" not in each or "--hash=sha256:" not in each or "://" in each] == []


def test_install_ignores_user_in_pip_configuration(tmp_path: Path) -> None:
    """Replit sets it; pip refuses it in a venv before it reads the requirements."""
    shutil.copytree(PROJECT / "dev", tmp_path / "dev", ignore=shutil.ignore_patterns("bench", "tests"))
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "pip.conf").write_text("[global]\nuser = yes\n")
    environment = os.environ | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    command = [str(tmp_path / "dev/install.sh"), "requirements.txt"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
