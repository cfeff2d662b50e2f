"""make rehearse: builds the Dockerfile's stages in chroots, and deploys the last one as render.yaml says.

The container's stand-in has user 1000, no capabilities, a read-only root, and an empty /tmp in memory.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import MySQLdb

from dev.rehearsal import dockerfile
from dev.rehearsal.chroot import BASE_ENVIRONMENT, build, in_root
from dev.rehearsal.dockerfile import Image
from dev.testing.deployment import PROJECT, render_environment, render_service, render_variables
from dev.testing.servers import Server, free_port
from dev.testing.waiting import wait_until

FOLDER = PROJECT / ".local/rehearsal"
HOST = "farmlokal-x1.onrender.com"
GRACE_SECONDS = 30  # Render's default: then it sends KILL
FORWARDED = {"X_Forwarded_For": "203.0.113.9, 172.71.195.123, 10.226.90.65", "X_Forwarded_Proto": "https"}


class Container(NamedTuple):
    root: Path
    image: Image
    environment: dict[str, str]

    def command(self, command: list[str]) -> list[str]:
        variables = [f"{name}={value}" for name, value in (self.image.environment | self.environment).items()]
        return in_root(
            self.root, ["env", "-i", f"--chdir={self.image.folder}", *variables, *command], self.image.user, "ro"
        )

    def run(self, text: str) -> str:
        """Run a command to its end, and return its output."""
        done = subprocess.run(self.command(shlex.split(text)), capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        check(text, done.returncode == 0, output[-2000:] if done.returncode else _last_line(output))
        return output

    @contextmanager
    def started(self) -> Iterator[Server]:
        log = FOLDER / "service.log"
        with log.open("wb") as output:
            command = self.command(self.image.command)
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Server(int(self.environment["PORT"]), log, process)
        finally:
            process.kill()
            process.wait()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:120]


def check(what: str, is_right: bool, detail: object = "") -> None:
    print(f"{'ok  ' if is_right else 'FAIL'} {what}: {detail}", flush=True)
    if not is_right:
        sys.exit(1)


def environment_of(kind: str, **inputs: str) -> dict[str, str]:
    """That of a service on Render, where settings without a value are left empty."""
    given = render_environment(kind, redis_url=os.environ["REDIS_URL"], **inputs)
    return dict.fromkeys(render_variables(kind), "") | given


def main() -> None:
    os.umask(0o022)  # services.sh sets a stricter one, for its data
    stages = dockerfile.read(PROJECT / "Dockerfile")
    root = build(FOLDER, stages)
    image = dockerfile.image_of(stages, BASE_ENVIRONMENT | {"HOME": "/home/farmlokal"})
    inputs = {"DATABASE_URL": os.environ["DATABASE_URL"], "SECRET_KEY": secrets.token_urlsafe(60)}
    web = environment_of("web", **inputs) | {"PORT": str(free_port()), "RENDER_EXTERNAL_HOSTNAME": HOST}
    container = Container(root, image, web)
    empty_database(inputs["DATABASE_URL"])
    check_confinement(container)
    container.run(render_service("web")["preDeployCommand"])
    container.run("python manage.py seed_products 2000 --if-empty")
    container.run("python manage.py check --deploy --fail-level WARNING")
    with container.started() as server:
        check_service(server, render_service("web")["healthCheckPath"])
        check_end(server)
    job = Container(root, image, environment_of("cron", **inputs))
    job.run(render_service("cron")["dockerCommand"])
    print("The deployment works.")


def empty_database(url: str) -> None:
    """Each rehearsal is a first deployment."""
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    server = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    with MySQLdb.connect(**server) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")


def check_confinement(container: Container) -> None:
    """Fails if the rehearsal itself allows more than a container with a read-only root does."""
    script = "id -u; for d in / /app /venv /home/farmlokal /var/tmp /run; do touch $d/x 2>/dev/null && echo $d; done"
    script += "; touch /tmp/x && grep CapEff /proc/self/status"
    command = container.command(["sh", "-c", script])
    words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    check("user 1000 without capabilities writes only to /tmp", words == ["1000", "CapEff:", "0" * 16], words)


def check_service(server: Server, health_path: str) -> None:
    started = time.monotonic()
    wait_until(lambda: _is_healthy(server, health_path) or server.process.poll() is not None)
    check(f"{health_path} is 200", _is_healthy(server, health_path), f"after {time.monotonic() - started:.1f} s")
    ready = server.request("/readyz", host=HOST)
    check("/readyz is ok", ready.status == 200 and ready.json["status"] == "ok", ready.body.decode())
    page = server.request("/products", host=HOST, **FORWARDED)
    check("/products has products", page.status == 200 and len(page.json["results"]) == 25, f"status {page.status}")
    check("it has HSTS", "strict-transport-security" in page.headers, page.headers.get("ratelimit", ""))
    check("another host is a 400", server.request("/products", host="evil.example", **FORWARDED).status == 400)
    check("/metrics needs the token", server.request("/metrics", host=HOST, **FORWARDED).status == 401)
    for target in ("/", "/docs", "/admin/login/"):
        check(f"{target} is 200", server.request(target, host=HOST, **FORWARDED).status == 200)


def _is_healthy(server: Server, path: str) -> bool:
    try:
        return server.request(path, host="10.0.0.1").status == 200
    except OSError:
        return False


def check_end(server: Server) -> None:
    """TERM while a request arrives: it is answered, and all processes end in time."""
    body = b'{"name": "x"}'
    head = f"POST /products HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        time.sleep(0.5)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(body)
        answer = _first_line(connection)
    status = server.process.wait(timeout=GRACE_SECONDS)
    check("a request in progress is answered after TERM", b" 401 " in answer, answer.decode())
    check("the service ends after TERM", status == 0, f"status 0 after {time.monotonic() - began:.1f} s")


def _first_line(connection: socket.socket) -> bytes:
    return connection.recv(65536).partition(b"\r\n")[0]


if __name__ == "__main__":
    main()
