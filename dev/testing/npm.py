"""Reference implementations from npm that tests compare ours with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MIN_NODE_VERSION = 20
INSTALL_SECONDS = 240


def install_script(folder: str, script: str) -> str:
    """Install the packages of our folder and return the path of its script beside them.

    Skips the test where Node, npm or npm's registry is missing.
    """
    node = shutil.which("node") and shutil.which("npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout if node else "v0"
    if int(version[1:].partition(".")[0]) < MIN_NODE_VERSION:
        pytest.skip(f"{folder} needs Node {MIN_NODE_VERSION} or newer, with npm")
    try:
        subprocess.run(["timeout", str(INSTALL_SECONDS), "dev/node.sh", folder], check=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot install the packages of {folder}; is npm's registry reachable? ({error})")
    return str(Path(".local/node", folder, script))
