"""The temporary folder in which the processes of one gunicorn count.

gunicorn holds a lock on it, which its workers inherit. A folder without a lock is left from a killed gunicorn, and the
next start deletes it. gunicorn.conf.py imports this before the settings.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "farmlokal-metrics-"
LOCK = "in-use"
NEW_SECONDS = 60  # another gunicorn may be about to lock such a folder

_lock = -1  # a descriptor; -1: this process has not locked its folder yet


def prepare() -> str:
    """Return the folder, for VARIABLE. If that is set already, this is a reload, or gunicorn's successor."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        _delete_abandoned()
        folder = tempfile.mkdtemp(prefix=PREFIX)
    if _lock < 0:
        _hold(Path(folder))
        atexit.register(_delete_after_the_last, Path(folder))
    return folder


def make_again() -> None:
    """Call it before a fork. The system may have deleted the folder among old temporary files. Without it, no worker
    starts, and then gunicorn ends."""
    folder = Path(os.environ[VARIABLE])
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.close(_lock)
        _hold(folder)


def _hold(folder: Path) -> None:
    global _lock  # noqa: PLW0603  # one for each process
    _lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(_lock, fcntl.LOCK_SH)


def _delete_after_the_last(folder: Path) -> None:
    """Workers end here, too. The folder stays while gunicorn, another worker or gunicorn's successor holds the lock."""
    os.close(_lock)
    _delete_unless_locked(folder)


def _delete_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another start deletes it at this moment, or it is another user's
            if time.time() - folder.stat().st_mtime > NEW_SECONDS:
                _delete_unless_locked(folder)


def _delete_unless_locked(folder: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)
