"""What the processes of a whole service hold at a moment: memory, threads, descriptors, connections, keys, files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
from django.db import connection
from redis import Redis

from dev.bench.counters import mariadb_pid
from dev.load.service import Service

MEBIBYTE = 1024 * 1024
# Keys that live for days grow with each new event: one that was delivered is remembered for 4 days.
GROWING = "webhook"
Sample = dict[str, float]  # by the name of the measure


class Sampler:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._redis = Redis.from_url(os.environ["REDIS_URL"])
        self._lines = service.log.open("rb")
        master = psutil.Process(service.server.pid)
        workers = {f"worker {number}": worker for number, worker in enumerate(master.children(), start=1)}
        servers = {"MariaDB": mariadb_pid(), "Redis": self._info("server")["process_id"]}
        self.processes = {"gunicorn": master, **workers} | {name: psutil.Process(pid) for name, pid in servers.items()}

    def take(self) -> Sample:
        sample = {measure: value for name in self.processes for measure, value in self._process(name)}
        return sample | dict(self._shared()) | dict(self._log())

    def _process(self, name: str) -> Iterator[tuple[str, float]]:
        """Raises SystemExit if the process has ended, even if another has taken its place."""
        process = self.processes[name]
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit(f"{name} (pid {process.pid}) has died")
        with process.oneshot():
            memory = process.memory_full_info()
            yield f"{name}: RSS, MiB", memory.rss / MEBIBYTE
            yield f"{name}: PSS, MiB", memory.pss / MEBIBYTE
            yield f"{name}: threads", process.num_threads()
            yield f"{name}: descriptors", process.num_fds()

    def _shared(self) -> Iterator[tuple[str, float]]:
        yield "MySQL: connections", self._number("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
        yield "MySQL: sessions of staff", self._number("SELECT '', COUNT(*) FROM django_session")
        yield "Redis: memory, MiB", self._info("memory")["used_memory"] / MEBIBYTE
        keys = Counter(key.decode().split(":")[1] for key in self._redis.scan_iter(count=1000))
        yield f"Redis: keys of {GROWING}s", keys.pop(GROWING, 0)
        yield "Redis: other keys", sum(keys.values())
        yield "metric files", len(list(self._service.metrics.iterdir()))

    def _log(self) -> Iterator[tuple[str, float]]:
        """Since the sample before. Each request writes one line."""
        lines = self._lines.readlines()
        requests = sum(b'"event":"request"' in line for line in lines)
        yield "log: bytes for a request", sum(map(len, lines)) / max(requests, 1)
        yield "log: other lines", len(lines) - requests

    def _number(self, sql: str) -> float:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            ((_, value),) = cursor.fetchall()
        return float(value)

    def _info(self, section: str) -> dict[str, Any]:
        info: Any = self._redis.info(section)
        return dict(info)
