"""Debian's Prometheus in a process of its own, which scrapes a service and evaluates rules."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from dev.testing.programs import program
from dev.testing.servers import TIMEOUT_SECONDS, free_port
from dev.testing.waiting import wait_until


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self._url}/-/ready", timeout=TIMEOUT_SECONDS).ok
        except requests.ConnectionError:
            return False

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The present samples. Raises an AssertionError for an invalid query."""
        samples: list[dict[str, Any]] = self._get("query", query=promql)["result"]
        return samples

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self._url}/api/v1/{path}", parameters, timeout=TIMEOUT_SECONDS).json()
        assert answer["status"] == "success", f"{parameters}: {answer['error']}"
        return answer["data"]


@contextmanager
def scraping(port: int, rules: Path, folder: Path) -> Iterator[Prometheus]:
    """Scrape the service on this port, and evaluate the rules, each second."""
    copy = folder / "rules.yml"
    copy.write_text(re.sub(r"^( +interval:) \w+", r"\1 1s", rules.read_text(), flags=re.MULTILINE))
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(copy)],
        "scrape_configs": [{"job_name": "farmlokal", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    own = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{own}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        prometheus = Prometheus(own)
        wait_until(lambda: prometheus.is_ready() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=TIMEOUT_SECONDS)
