"""Reference implementations of npm, for tests that need one of somebody else's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

LEAST_VERSION = 20


def installed(folder: str, script: str) -> str:
    """The path of a script of this folder of ours, beside which its packages are installed. Skips without Node or npm's
    registry."""
    node = shutil.which("node") and shutil.which("npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout if node else "v0"
    if int(version[1:].partition(".")[0]) < LEAST_VERSION:
        pytest.skip(f"{folder} needs Node {LEAST_VERSION} or newer, with npm")
    try:
        subprocess.run(["timeout", "240", "dev/node.sh", folder], check=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the packages of {folder} cannot be installed: npm's registry is not to be reached ({error})")
    return str(Path(".local/node", folder, script))
