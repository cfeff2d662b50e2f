"""services.sh and `make run` stop exactly the processes that they started, however they end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from dev.testing.checkouts import (
    IS_UP,
    PROGRESS,
    PROJECT,
    copy_checkout,
    make_run,
    processes,
    started,
    user_environment,
)
from dev.testing.mysql import connect, query
from dev.testing.servers import free_port
from dev.testing.waiting import wait_until

SERVICES = str(PROJECT / "dev" / "services.sh")
SHUTDOWN_SECONDS = 0.7  # enough to cut a request, and less than the 2 s for which a write waits for its row
WAITING = """
SELECT COUNT(*) FROM information_schema.processlist
WHERE info LIKE '%products_product%FOR UPDATE' AND time_ms > 50 AND id != CONNECTION_ID()
"""


@pytest.fixture
def environment() -> dict[str, str]:
    return user_environment()


def test_command_gets_both_urls_and_sets_the_exit_status(tmp_path: Path, environment: dict[str, str]) -> None:
    probe = (
        "import os, MySQLdb, redis, urllib.parse as u; d = u.urlsplit(os.environ['DATABASE_URL']);"
        "MySQLdb.connect(host=d.hostname, port=d.port, user=d.username, password=d.password, database=d.path[1:]);"
        "redis.Redis.from_url(os.environ['REDIS_URL']).ping(); raise SystemExit(7)"
    )
    done = subprocess.run([SERVICES, str(tmp_path), sys.executable, "-c", probe], env=environment, check=False)
    assert done.returncode == 7
    assert processes(tmp_path) == []


def test_set_url_replaces_a_private_server(tmp_path: Path, environment: dict[str, str]) -> None:
    urls = {"DATABASE_URL": "mysql://user:secret@db.example/name", "REDIS_URL": "redis://cache.example/0"}
    command = [SERVICES, str(tmp_path), "sh", "-c", "echo $DATABASE_URL $REDIS_URL"]
    done = subprocess.run(command, env=environment | urls, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(urls.values())
    assert not (tmp_path / "mariadb").exists()
    assert not (tmp_path / "redis.log").exists()


def test_signal_ends_script_and_servers(tmp_path: Path, environment: dict[str, str]) -> None:
    folder, marker = tmp_path / "services", tmp_path / "up"
    command = [SERVICES, str(folder), "sh", "-c", f"touch {marker}; sleep 300"]
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        with started(command, environment, tmp_path / "log") as process:
            wait_until(marker.exists)
            assert len(processes(folder)) >= 3  # MariaDB, Redis and the script
            process.send_signal(signal_number)
            process.wait(timeout=60)
            wait_until(lambda: processes(folder) == [])
        marker.unlink()
    after_kill = subprocess.run([SERVICES, str(folder), "true"], env=environment, check=False, capture_output=True)
    assert after_kill.returncode == 0, after_kill.stderr


def test_one_run_per_folder_but_several_side_by_side(tmp_path: Path, environment: dict[str, str]) -> None:
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
        assert "already running" in same.stderr


def test_failed_server_start_prints_one_line_with_its_log(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "mariadb.log").write_text("an earlier one was ready for connections\n")
    bad = environment | {"MARIADB_OPTIONS": "--no-such-option"}
    done = subprocess.run([SERVICES, str(tmp_path), "true"], env=bad, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'step "start mariadb" failed, see' in line
    assert Path(line.split()[-1]).is_file()
    assert processes(tmp_path) == []


def supervisor(checkout: Path) -> int:
    """The services.sh of a `make run` in this checkout."""
    arguments = "dev/services.sh\0.local/run"
    (pid,) = [pid for pid in processes(checkout) if arguments in Path(f"/proc/{pid}/cmdline").read_text()]
    return pid


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_checkout(tmp_path / "checkout")


def shell(command: str, environment: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        ["bash", "-xc", command], cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_printed_commands(text: str, checkout: Path, environment: dict[str, str]) -> None:
    """Run the commands that make run suggests; environment is that of another terminal."""
    (url,) = re.findall(r"curl -s '(\S+sort=price&limit=2)'", text)
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310  # our own URL
        assert response.status == 200
    token_commands = "\n".join(line for line in text.splitlines() if "TOKEN" in line)
    assert '"stock":7,' in shell(token_commands, environment, checkout)
    (send,) = re.findall(r"make -s manage ARGS='partner_sandbox send.*", text)
    assert "3 x 200 duplicate" in shell(send, environment, checkout)


End = Callable[[subprocess.Popen[bytes], Path], None]


def end_by_ctrl_c(process: subprocess.Popen[bytes], _: Path) -> None:
    os.killpg(process.pid, signal.SIGINT)


def variables_of(checkout: Path) -> dict[str, str]:
    """The environment that `make run` leaves for `make manage`."""
    printed = shell(". .local/run/env; env -0", {"PATH": os.environ["PATH"]}, checkout)
    return dict(line.split("=", 1) for line in printed.split("\0") if line)


def patch(url: str, token: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.patch(f"{url}/products/1", json={"stock": 4321}, headers=headers, timeout=60)


def end_by_term_during_a_write(process: subprocess.Popen[bytes], checkout: Path) -> None:
    """The write waits for a row lock. It must be answered all the same."""
    running, form = variables_of(checkout), {"grant_type": "client_credentials"}
    token = requests.post(running["OAUTH_TOKEN_URL"], form, auth=("demo", "demo-secret"), timeout=60).json()
    with ThreadPoolExecutor() as callers, contextlib.closing(connect(running["DATABASE_URL"])) as connection:
        query(connection, "BEGIN")
        query(connection, "SELECT id FROM products_product WHERE id = 1 FOR UPDATE")
        answer = callers.submit(patch, f"http://127.0.0.1:{running['PORT']}", token["access_token"])
        wait_until(lambda: query(connection, WAITING) == [(1,)])
        process.terminate()
        wait_until(lambda: "Handling signal" in (checkout / ".local/log/run-gunicorn.log").read_text())
        time.sleep(SHUTDOWN_SECONDS)
        query(connection, "COMMIT")
        assert answer.result().json()["stock"] == 4321
    assert process.wait(timeout=60) == -signal.SIGTERM


def end_by_killing_the_supervisor(_: subprocess.Popen[bytes], checkout: Path) -> None:
    os.kill(supervisor(checkout), signal.SIGKILL)


def end_by_killing_make(process: subprocess.Popen[bytes], _: Path) -> None:
    process.kill()


def test_make_run_serves_sample_catalogue_and_ends_cleanly(
    checkout: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    log, webhook_secrets = tmp_path / "log", set()
    users_key = {"SECRET_KEY": "a secret of the user that is long enough to be accepted"}
    runs: tuple[tuple[End, dict[str, str]], ...] = (
        (end_by_ctrl_c, {}),
        (end_by_killing_the_supervisor, users_key),
        (end_by_term_during_a_write, {}),
        (end_by_killing_make, {}),
    )
    for end, variables in runs:
        running = environment | variables | {"PORT": str(free_port())}
        with make_run(checkout, running, log) as process:
            text = log.read_text()
            assert ("20,000 products in" in text) == (end == end_by_ctrl_c)  # only the first run finds no products
            if end in {end_by_ctrl_c, end_by_killing_the_supervisor}:
                check_printed_commands(text, checkout, environment)
            webhook_secrets.add((checkout / ".local/run/webhook_secret").read_text())
            end(process, checkout)
            process.wait(timeout=60)
            wait_until(lambda: processes(checkout) == [])
    assert len(webhook_secrets) == 1


def read_until(terminal: int, text: str = "\0") -> str:
    """What the terminal shows until the text, or until its last process has ended."""
    shown = ""
    with contextlib.suppress(OSError):  # the end
        while text not in shown and (piece := os.read(terminal, 65_536)):
            shown += piece.decode(errors="replace")
    return shown


def test_ctrl_c_in_a_terminal_ends_make_run_with_status_0(checkout: Path, environment: dict[str, str]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(checkout)
        os.execvpe("make", ["make", "run"], environment | {"PORT": str(free_port())})
    assert IS_UP in read_until(terminal, IS_UP)
    os.write(terminal, b"\x03")
    shown = read_until(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert "***" not in shown
    wait_until(lambda: processes(checkout) == [])


UNREACHABLE = {"DATABASE_URL": "mysql://u:p@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}


def failed_make_run(checkout: Path, environment: dict[str, str]) -> list[str]:
    """The messages of a make run that fails before it needs a server."""
    variables = UNREACHABLE | {"PORT": str(free_port())} | environment
    done = subprocess.run(["make", "run"], cwd=checkout, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert processes(checkout) == []
    messages = [line for line in done.stderr.splitlines() if line.startswith("make run:")]
    return [message for message in messages if not PROGRESS.match(message)]


def test_make_run_reports_a_taken_port(checkout: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        messages = failed_make_run(checkout, environment | {"PORT": port})
    assert messages == [f"make run: port {port} is taken; try PORT=8001 make run"]


def test_make_run_reports_a_bad_setting(checkout: Path, environment: dict[str, str]) -> None:
    messages = failed_make_run(checkout, environment | {"LOG_LEVEL": "LOUD"})
    assert messages == ['make run: step "migrate" failed, see .local/log/run-migrate.log']
    assert '"LOG_LEVEL" invalid' in (checkout / ".local/log/run-migrate.log").read_text()


def test_make_run_reports_the_failed_step(checkout: Path, environment: dict[str, str]) -> None:
    messages = failed_make_run(checkout, environment)
    assert messages == ['make run: step "migrate" failed, see .local/log/run-migrate.log']
    assert "127.0.0.1" in (checkout / ".local/log/run-migrate.log").read_text()


def test_make_manage_needs_a_make_run(checkout: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["make", "manage", "ARGS=check"], cwd=checkout, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "make manage: needs a make run in another terminal" in done.stderr
