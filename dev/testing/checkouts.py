"""Copies of the project in which tests run `make`, and the processes that run in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.testing.waiting import wait_until

PROJECT = Path(__file__).parents[2]
IS_UP = "Ctrl-C stops the service"
START_SECONDS = 300
PROGRESS = re.compile(r"make \w+: .+, \d+ s: ")  # of a slow step


def user_environment() -> dict[str, str]:
    """A user's environment, without URLs that would replace a private server."""
    removed = {"DATABASE_URL", "SECRET_KEY", "ALLOWED_HOSTS", "DJANGO_SETTINGS_MODULE", "PORT"}
    removed |= {"DATABASE_REPLICA_URL", "REDIS_URL", "REDIS_KEY_PREFIX", "REDIS_HASH_TAGS"}
    removed |= {"RATE_LIMIT_ANONYMOUS"}  # off in tests
    return {name: value for name, value in os.environ.items() if name not in removed}


def copy_checkout(to: Path) -> Path:
    """A copy of the project that shares the installed packages."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    for name in listed.stdout.decode().split("\0")[:-1]:
        if (PROJECT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, to / name)
    (to / ".venv").symlink_to(PROJECT / ".venv")
    return to


def processes(folder: Path) -> list[int]:
    """Processes whose command line or working directory is in the folder."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (entry / "cmdline").read_text() or (entry / "cwd").readlink().is_relative_to(folder):
                pids.append(int(entry.name))
        except OSError:
            continue
    return pids


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path = PROJECT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command in a new session, as in another terminal, and end it after the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def make_run(checkout: Path, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`make run`, once the service answers."""
    with started(["make", "run"], environment, log, checkout) as process:
        wait_until(lambda: IS_UP in log.read_text() or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, log.read_text()
        yield process
