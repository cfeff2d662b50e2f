"""Each process counts in files of its own; files of dead processes are folded into one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from django.test import Client
from prometheus_client import REGISTRY
from prometheus_client.mmap_dict import MmapedDict
from pytest_django.fixtures import Settings

from dev.testing.repeating import repeating
from dev.testing.servers import GUNICORN, Server, running
from dev.testing.waiting import wait_until
from farmlokal import health
from farmlokal.observability import metrics, metrics_folder
from farmlokal.page_cache.pages import Result
from farmlokal.request_state import KEY, RequestState
from integrations.models import WebhookEvent
from integrations.webhooks import inbox
from integrations.webhooks.handlers import HANDLERS

pytestmark = pytest.mark.usefixtures("live_database")

LIVEZ = 'farmlokal_requests_total{method="GET",route="/livez",status="200"}'
SECONDS = 'farmlokal_request_seconds_count{route="/livez"}'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(metrics_folder.VARIABLE, str(tmp_path))
    monkeypatch.setattr(metrics, "_dead", set())
    return tmp_path


def counted(server: Server, name: str) -> int:
    text = server.request("/metrics").body.decode()
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return int(float(value))


def kill_a_worker(server: Server) -> None:
    """Return when gunicorn has started another worker, which it does after child_exit."""
    killed, other = server.workers
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len({*server.workers} - {killed, other}) == 1)


@contextlib.contextmanager
def scraping(server: Server) -> Iterator[list[int]]:
    """Scrape without pause, and yield the list of counts. A scrape fails if its worker is killed."""
    counts: list[int] = []

    def scrape() -> None:
        with contextlib.suppress(OSError, IndexError):
            counts.append(counted(server, LIVEZ))

    with repeating(scrape):
        yield counts


def test_counts_of_killed_workers_move_to_two_files(database_environment: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    with running(database_environment, PROMETHEUS_MULTIPROC_DIR=str(directory)) as server:
        for _ in range(10):
            server.request("/livez")
        with scraping(server) as counts:
            for _ in range(5):
                kill_a_worker(server)
        assert counts
        assert set(counts) == {10}
        kill_a_worker(server)  # no scrape holds the lock now
        for _ in range(10):
            server.request("/livez")
        assert counted(server, LIVEZ) == counted(server, SECONDS) == 20
        files = {file.name for file in directory.glob("*.db")}
        processes = [server.process.pid, *server.workers]
        assert files <= {f"{kind}_{name}.db" for kind in ("counter", "histogram") for name in [*processes, "dead"]}
        assert "metrics_lost" not in server.log.read_text()


def test_build_info_names_version_and_commit(settings: Settings) -> None:
    settings.COMMIT = "abc123"
    metrics._build.cache_clear()
    text = metrics.exposition({}, {}, {}).decode()
    metrics._build.cache_clear()
    (line,) = re.findall(r"^farmlokal_build_info.*", text, re.MULTILINE)
    assert f'version="{settings.VERSION}"' in line
    assert 'commit="abc123"' in line
    assert line.endswith("} 1.0")


def write_counts(directory: Path, pid: int, **counts: float) -> None:
    """Write the file of a process."""
    file = MmapedDict(str(directory / f"counter_{pid}.db"))  # type: ignore[no-untyped-call]
    for name, value in counts.items():
        file.write_value(name, value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def read_counts(directory: Path) -> dict[str, dict[str, float]]:
    return {
        file.name: {name: value for name, value, *_ in MmapedDict.read_all_values_from_file(str(file))}  # type: ignore[no-untyped-call]
        for file in directory.iterdir()
    }


def test_counts_add_up_by_name(directory: Path) -> None:
    for pid in (1, 2, 12):
        write_counts(directory, pid, a=1.5, **{f"b{pid}": pid})
    for pid in (1, 2):
        metrics.fold(pid, alive=[12])
    assert read_counts(directory) == {
        "counter_dead.db": {"a": 3.0, "b1": 1, "b2": 2},
        "counter_12.db": {"a": 1.5, "b12": 12},
    }


def test_arbiter_never_waits_for_a_scrape(directory: Path) -> None:
    write_counts(directory, 1, a=1)
    write_counts(directory, 2, a=2)
    with metrics._locked(fcntl.LOCK_SH):
        metrics.fold(1, alive=[])
        assert read_counts(directory).keys() == {"counter_1.db", "counter_2.db"}
    metrics.fold(2, alive=[])
    assert read_counts(directory) == {"counter_dead.db": {"a": 3}}


def test_new_process_with_a_reused_pid_keeps_its_file(directory: Path) -> None:
    write_counts(directory, 1, a=1)
    write_counts(directory, 2, a=2)
    with metrics._locked(fcntl.LOCK_SH):
        metrics.fold(1, alive=[])
    metrics.fold(2, alive=[1])
    assert read_counts(directory) == {"counter_dead.db": {"a": 2}, "counter_1.db": {"a": 1}}


def test_broken_file_is_deleted(directory: Path) -> None:
    (directory / "counter_1.db").touch()
    write_counts(directory, 2, a=2)
    metrics.fold(1, alive=[2])
    metrics.fold(2, alive=[])
    assert read_counts(directory) == {"counter_dead.db": {"a": 2}}


def test_missing_directory_does_not_stop_the_arbiter(directory: Path) -> None:
    directory.rmdir()
    metrics.fold(1, alive=[])


def test_scrape_waits_while_files_are_folded(directory: Path) -> None:
    scrape = threading.Thread(target=metrics.exposition, args=({}, {}, {}))
    with metrics._locked(fcntl.LOCK_EX):
        scrape.start()
        scrape.join(0.3)
        assert scrape.is_alive()
    scrape.join(20)
    assert not scrape.is_alive()


def seconds_of_livez() -> float:
    return REGISTRY.get_sample_value("farmlokal_request_seconds_sum", {"route": "/livez"}) or 0.0


def test_time_to_answer_includes_the_wait_for_a_thread(client: Client) -> None:
    before = seconds_of_livez()
    arrived: Any = {KEY: RequestState(arrived_at=time.monotonic() - 7)}
    client.get("/livez", **arrived)
    assert 7 <= seconds_of_livez() - before < 60


def test_counts_of_known_labels_begin_at_zero() -> None:
    """Otherwise Prometheus sees no increase in the first count, such as that of a refused token."""
    text = metrics.exposition({}, {}, {}).decode()
    named = {
        "page_cache": {"result": get_args(Result)},
        "rate_limited": {"policy": ("anonymous", "client", "tokens")},
        "token_refreshes": {"outcome": ("refreshed", "refused", "failed")},
    }
    for name, labels in named.items():
        ((label, values),) = labels.items()
        found = re.findall(rf'^farmlokal_{name}_total{{{label}="([^"]+)"}}', text, re.MULTILINE)
        assert sorted(found) == sorted(values)
    for event_type in HANDLERS:
        for status in (inbox.Status.FAILED, inbox.Status.DEAD):
            assert f'farmlokal_webhooks_total{{status="{status}",type="{event_type}"}}' in text


def test_scrape_counts_failed_webhooks_by_one_statement(django_assert_num_queries: Any) -> None:
    for number, status in enumerate(["failed", "failed", "dead", "processed"]):
        WebhookEvent.objects.create(webhook_id=str(number), status=status, payload=b"")
    with django_assert_num_queries(1):
        assert health._count_webhooks() == {"failed": 2, "dead": 1}


# The folder of a gunicorn


def folders(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{metrics_folder.PREFIX}*"))


def make_older(folder: Path) -> None:
    os.utime(folder, (0, 0))


PREPARE = """
import os
from farmlokal.observability import metrics_folder
os.environ[metrics_folder.VARIABLE] = metrics_folder.prepare()
"""


def prepare(parent: Path, then: str = "") -> None:
    """In a process of its own, as gunicorn does at its start."""
    environment = {**os.environ, "TMPDIR": str(parent)}
    environment.pop(metrics_folder.VARIABLE, None)
    subprocess.run([sys.executable, "-c", f"{PREPARE}\n{then}"], env=environment, check=True)


def test_workers_of_a_killed_gunicorn_delete_its_folder(database_environment: dict[str, str], tmp_path: Path) -> None:
    with running(database_environment, TMPDIR=str(tmp_path)) as server:
        (folder,) = folders(tmp_path)
        make_older(folder)
        prepare(tmp_path)  # another gunicorn starts and ends beside it
        assert folders(tmp_path) == [folder]
        for _ in range(3):
            server.request("/livez")
        assert counted(server, LIVEZ) == 3
        server.process.kill()
        wait_until(lambda: folders(tmp_path) == [])


def test_next_start_deletes_the_folder_of_killed_processes(tmp_path: Path) -> None:
    prepare(tmp_path, "os._exit(0)")
    prepare(tmp_path)
    (left,) = folders(tmp_path)  # too new: another gunicorn might be about to lock it
    make_older(left)
    prepare(tmp_path)
    assert folders(tmp_path) == []


def test_failed_start_leaves_no_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "ALLOWED_HOSTS": "localhost"}
    for port in ("8000", "none"):
        command = [GUNICORN, "--check-config"]
        subprocess.run(command, env=environment | {"PORT": port}, check=False, capture_output=True)
        assert folders(tmp_path) == []


def test_successor_of_a_gunicorn_keeps_the_folder(tmp_path: Path) -> None:
    """On SIGUSR2 gunicorn starts the next one with its own environment, and ends later."""
    succeed = f"""
import subprocess, sys
folder = os.environ[metrics_folder.VARIABLE]
with subprocess.Popen([sys.executable, "-c", {PREPARE + "print(flush=True); input()"!r}], stdin=-1, stdout=-1) as next:
    next.stdout.readline()
    metrics_folder._delete_after_the_last(metrics_folder.Path(folder))
    print(os.path.isdir(folder))
    next.communicate(b"\\n")
print(os.path.isdir(folder), flush=True)
os._exit(0)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop(metrics_folder.VARIABLE, None)
    command = [sys.executable, "-c", f"{PREPARE}\n{succeed}"]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert printed == "True\nFalse\n"
