"""Debian's nginx in front of several instances, with the directives that docs/operations.md recommends."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dev.testing.programs import program
from dev.testing.servers import TIMEOUT_SECONDS, free_port
from dev.testing.waiting import wait_until

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(NamedTuple):
    port: int
    log: Path  # of errors


@contextmanager
def in_front_of(ports: Sequence[int], folder: Path) -> Iterator[Nginx]:
    """Runs in one process, so that it needs no other user."""
    nginx = Nginx(free_port(), folder / "nginx.log")
    nginx.log.touch()
    (folder / "nginx.conf").write_text(_configuration(nginx, ports, folder))
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(nginx.log)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or _listens(nginx.port))
        assert process.poll() is None, nginx.log.read_text()
        yield nginx
    finally:
        process.terminate()
        process.wait(timeout=TIMEOUT_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _configuration(nginx: Nginx, ports: Sequence[int], folder: Path) -> str:
    servers = "".join(f"server 127.0.0.1:{port} max_fails=0; " for port in ports)
    paths = "".join(f"{name}_temp_path {folder}; " for name in TEMPORARY)
    return f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log {nginx.log} error;
events {{ worker_connections 1024; }}
http {{
    access_log off; {paths}
    upstream farmlokal {{ {servers}keepalive 32; keepalive_timeout 1s; }}
    server {{
        listen 127.0.0.1:{nginx.port};
        location / {{
            proxy_pass http://farmlokal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""
