"""services.sh and `make run`: what they start ends with them, however they end, and nothing else does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.testing.servers import free_port
from dev.testing.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
SERVICES = str(PROJECT / "dev" / "services.sh")


@pytest.fixture
def environment() -> dict[str, str]:
    """A user's environment: no URL that would replace a private server."""
    ours = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ALLOWED_HOSTS", "DJANGO_SETTINGS_MODULE", "PORT"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def processes(folder: Path) -> list[int]:
    """The processes whose command line or working directory is under the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (entry / "cmdline").read_text() or (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@contextmanager
def started(
    command: list[str], environment: dict[str, str], log: Path, cwd: Path = PROJECT
) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, as in a terminal of its own; whatever a failing test leaves is killed."""
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


def test_the_command_gets_both_urls_and_its_exit_status_counts(tmp_path: Path, environment: dict[str, str]) -> None:
    probe = (
        "import os, MySQLdb, redis, urllib.parse as u; d = u.urlsplit(os.environ['DATABASE_URL']);"
        "MySQLdb.connect(host=d.hostname, port=d.port, user=d.username, password=d.password, database=d.path[1:]);"
        "redis.Redis.from_url(os.environ['REDIS_URL']).ping(); raise SystemExit(7)"
    )
    done = subprocess.run([SERVICES, str(tmp_path), sys.executable, "-c", probe], env=environment, check=False)
    assert done.returncode == 7
    assert processes(tmp_path) == []


def test_a_given_url_is_used_and_no_server_started(tmp_path: Path, environment: dict[str, str]) -> None:
    given = {"DATABASE_URL": "mysql://user:secret@db.example/name", "REDIS_URL": "redis://cache.example/0"}
    command = [SERVICES, str(tmp_path), "sh", "-c", "echo $DATABASE_URL $REDIS_URL"]
    done = subprocess.run(command, env=environment | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(given.values())
    assert not (tmp_path / "mariadb").exists()
    assert not (tmp_path / "redis.log").exists()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_everything_ends_with_it(tmp_path: Path, environment: dict[str, str], signal_number: signal.Signals) -> None:
    folder = tmp_path / "services"
    marker = tmp_path / "up"
    command = [SERVICES, str(folder), "sh", "-c", f"touch {marker}; sleep 300"]
    with started(command, environment, tmp_path / "log") as process:
        wait_until(marker.exists)
        assert len(processes(folder)) >= 3  # MariaDB, Redis and the script
        process.send_signal(signal_number)
        process.wait(timeout=30)
        wait_until(lambda: processes(folder) == [])
    again = subprocess.run([SERVICES, str(folder), "true"], env=environment, check=False, capture_output=True)
    assert again.returncode == 0, again.stderr


def test_two_run_side_by_side_and_one_folder_takes_one(tmp_path: Path, environment: dict[str, str]) -> None:
    marker = tmp_path / "up"
    with started(
        [SERVICES, str(tmp_path / "a"), "sh", "-c", f"touch {marker}; sleep 300"], environment, tmp_path / "log"
    ):
        wait_until(marker.exists)
        beside = subprocess.run([SERVICES, str(tmp_path / "b"), "true"], env=environment, check=False)
        assert beside.returncode == 0
        same = subprocess.run(
            [SERVICES, str(tmp_path / "a"), "true"],
            env=environment | {"LOCK_SECONDS": "1"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert same.returncode == 1
        assert "running already" in same.stderr


def test_a_server_that_cannot_start_is_one_line_that_names_its_log(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "mariadb.log").write_text("an earlier one was ready for connections\n")
    bad = environment | {"MARIADB_OPTIONS": "--no-such-option"}
    done = subprocess.run([SERVICES, str(tmp_path), "true"], env=bad, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'step "start mariadb" failed, see' in line
    assert Path(line.split()[-1]).is_file()
    assert processes(tmp_path) == []


def supervisor(checkout: Path) -> int:
    """The services.sh of a `make run` there."""
    is_ours = "dev/services.sh\0.local/run"
    (pid,) = [pid for pid in processes(checkout) if is_ours in Path(f"/proc/{pid}/cmdline").read_text()]
    return pid


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh copy of the project that shares the installed packages."""
    copy = tmp_path / "checkout"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    for name in tracked.stdout.decode().split("\0")[:-1]:
        if (PROJECT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, copy / name)
    (copy / ".venv").symlink_to(PROJECT / ".venv")
    return copy


def test_make_run_serves_a_seeded_catalogue_and_ends_whole(
    checkout: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    port, log, webhook_secrets = free_port(), tmp_path / "log", set()
    environment["PORT"] = str(port)
    for attempt in ("first", "second"):
        with started(["make", "run"], environment, log, checkout) as process:
            wait_until(lambda: "Ctrl-C ends it" in log.read_text() or process.poll() is not None, 120)
            text = log.read_text()
            assert process.poll() is None, text
            assert ("20,000 products in" in text) == (attempt == "first")
            (url,) = re.findall(r"curl -s '(\S+sort=price&limit=2)'", text)
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # our own URL
                assert response.status == 200
            # The consumer's tour, as it is printed.
            tour = "\n".join(line for line in text.splitlines() if "TOKEN" in line)
            written = subprocess.run(["bash", "-xc", tour], capture_output=True, text=True, check=True)
            assert '"stock":7,' in written.stdout, written
            (webhooks,) = re.findall(r"make -s manage ARGS='partner_sandbox send.*", text)
            sent = subprocess.run(["bash", "-c", webhooks], cwd=checkout, capture_output=True, text=True, check=True)
            assert "3 x 200 duplicate" in sent.stdout, sent
            webhook_secrets.add((checkout / ".local/run/webhook_secret").read_text())
            if attempt == "first":
                os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
            else:
                os.kill(supervisor(checkout), signal.SIGKILL)
            process.wait(timeout=30)
            wait_until(lambda: processes(checkout) == [])
    assert len(webhook_secrets) == 1


def test_make_run_ends_with_make(checkout: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    environment["PORT"] = str(free_port())
    with started(["make", "run"], environment, tmp_path / "log", checkout) as process:
        wait_until(lambda: "Ctrl-C ends it" in (tmp_path / "log").read_text(), 60)
        process.kill()
        wait_until(lambda: processes(checkout) == [])


def test_make_run_says_that_its_port_is_taken(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment["PORT"] = str(listener.getsockname()[1])
        done = subprocess.run(
            ["make", "run"], cwd=checkout, env=environment, check=False, capture_output=True, text=True
        )
    assert done.returncode != 0
    assert f"make run: port {environment['PORT']} is taken" in done.stderr
    assert processes(checkout) == []


def test_make_run_names_a_bad_setting(checkout: Path, environment: dict[str, str]) -> None:
    bad = {"PORT": str(free_port()), "LOG_LEVEL": "LOUD"}
    done = subprocess.run(
        ["make", "run"], cwd=checkout, env=environment | bad, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert 'make run: step "migrate" failed, see .local/log/run-migrate.log' in done.stderr.splitlines()
    assert '"LOG_LEVEL" invalid' in (checkout / ".local/log/run-migrate.log").read_text()
    assert processes(checkout) == []


def test_make_manage_works_beside_make_run_only(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = ["make", "manage", "ARGS=migrate --check"]
    alone = subprocess.run(command, cwd=checkout, env=environment, check=False, capture_output=True, text=True)
    assert alone.returncode != 0
    assert "make manage: needs a make run in another terminal" in alone.stderr
    environment |= {"PORT": str(free_port()), "SECRET_KEY": "one of the user's own, and long enough to be accepted"}
    with started(["make", "run"], environment, tmp_path / "log", checkout):
        wait_until(lambda: "Ctrl-C ends it" in (tmp_path / "log").read_text(), 60)
        del environment["SECRET_KEY"]
        subprocess.run(command, cwd=checkout, env=environment, check=True)


def test_make_run_names_the_step_that_failed(checkout: Path, environment: dict[str, str]) -> None:
    nowhere = {
        "DATABASE_URL": "mysql://u:p@127.0.0.1:1/x",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PORT": str(free_port()),
    }
    done = subprocess.run(
        ["make", "run"], cwd=checkout, env=environment | nowhere, check=False, capture_output=True, text=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("make run:")]
    assert lines == ['make run: step "migrate" failed, see .local/log/run-migrate.log']
    assert (checkout / ".local/log/run-migrate.log").is_file()
