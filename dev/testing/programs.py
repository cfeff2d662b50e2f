"""Programs of Debian that tests start."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def program(name: str) -> str:
    """The path of a program that the system has, or that dev/install.sh has put into .local/bin."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", str(Path(".local/bin").absolute())])
    found = shutil.which(name, path=path)
    assert found, f"no {name}: run dev/install.sh"
    return found
