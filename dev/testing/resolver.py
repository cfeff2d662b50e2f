"""Lets a service that is started with a folder in PYTHONPATH resolve one host name to this machine, or stall."""

from __future__ import annotations

from pathlib import Path

MODULE = """
import os, socket, time
original = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if host != {host!r} or options.get("flags"):
        return original(host, *arguments, **options)
    if os.path.exists({stalled!r}):
        time.sleep(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return original("127.0.0.1", *arguments, **options)
socket.getaddrinfo = getaddrinfo
"""


def write_module(folder: Path, host: str, stalled: Path) -> None:
    """Write a sitecustomize module into the folder. The name stalls while the file `stalled` exists."""
    (folder / "sitecustomize.py").write_text(MODULE.format(host=host, stalled=str(stalled)))
