"""No request is lost when workers are replaced, and when the service ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dev.testing import rolling, unbroken
from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_offer, make_offers
from dev.testing.servers import GUNICORN, Server, free_port, json_request, running
from dev.testing.waiting import wait_until
from farmlokal.server.protocol import FAREWELL_SECONDS
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
CALLERS, A_SECOND = 8, 200


@pytest.fixture
def one_worker(database_environment: dict[str, str]) -> Iterator[Server]:
    with running(database_environment, WEB_CONCURRENCY="1", PARTNER_WEBHOOK_SECRETS=SECRET) as server:
        yield server


def listening_sockets(server: Server) -> dict[int, set[str]]:
    """The service's listening sockets of its master and of each worker, by process."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    port, listens = f":{server.port:04X}", "0A"
    all_sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(port) and line[3] == listens}
    pids = [server.process.pid, *server.workers]
    return {pid: {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()} & all_sockets for pid in pids}


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def waiting_requests(server: Server, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Connections that the kernel has made and the worker has not accepted."""
    connections = [stack.enter_context(server.connect()) for _ in range(20)]
    for connection in connections:
        connection.sendall(GET)
    return connections


def test_waiting_connections_of_a_killed_worker_are_served(one_worker: Server) -> None:
    (worker,) = one_worker.workers
    os.kill(worker, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        waiting = waiting_requests(one_worker, stack)
        os.kill(worker, signal.SIGKILL)
        for connection in waiting:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def has_no_handshake(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=0.2).close()
    except TimeoutError:
        return True
    return False


def test_term_serves_waiting_connections_and_admits_no_more(one_worker: Server) -> None:
    (worker,) = one_worker.workers
    with contextlib.ExitStack() as stack:
        with frozen(worker):
            waiting = waiting_requests(one_worker, stack)
            one_worker.process.terminate()
            wait_until(lambda: has_no_handshake(one_worker))
        for connection in waiting:
            answer = everything(connection)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in answer
        with pytest.raises(ConnectionRefusedError):
            one_worker.connect()
        assert one_worker.process.wait(timeout=30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_request_in_flight_at_the_end_has_its_effect(one_worker: Server, number: signal.Signals) -> None:
    """Ctrl-C in a terminal reaches the worker too. uvicorn would cut all requests at the second one."""
    master = one_worker.process.pid
    receivers = [master] if number == signal.SIGTERM else [*one_worker.workers * 2, master]
    product = make_offer(price="10.00")
    delivery = Delivery(event(product.pk, price="47.50"))
    request = json_request("/webhooks/partner", delivery.body, [*delivery.headers.items()])
    with one_worker.connect() as connection:
        connection.sendall(request[:-20])
        time.sleep(0.1)
        for pid in receivers:
            os.kill(pid, number)
            time.sleep(0.2)
        wait_until(lambda: one_worker.has_logged("Shutting down"))
        connection.sendall(request[-20:])
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert str(Product.objects.get(pk=product.pk).price) == "47.50"


def test_connection_stays_if_the_response_has_promised_it(one_worker: Server) -> None:
    (large,) = re.findall(r'/static/[^"]*swagger-ui-bundle[^"]*', one_worker.request("/docs").body.decode())
    with socket.socket() as connection:
        # Small packets keep the kernel's buffers small, so that the response is not sent at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        connection.connect(("127.0.0.1", one_worker.port))
        connection.sendall(f"GET {large} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = connection.recv(2048).partition(b"\r\n\r\n")
        assert b"\r\nconnection: close" not in head
        one_worker.process.terminate()
        wait_until(lambda: one_worker.has_logged("Shutting down"))
        (size,) = re.findall(rb"\r\ncontent-length: (\d+)", head)
        missing = int(size) - len(body)
        while missing:
            missing -= len(connection.recv(min(missing, 65_536)))
        connection.sendall(GET)
        assert b"\r\nconnection: close\r\n" in everything(connection)


def test_request_that_arrives_with_the_farewell_is_answered(one_worker: Server) -> None:
    (worker,) = one_worker.workers
    with one_worker.connect() as idle:
        idle.sendall(GET)
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200 ")
        one_worker.process.terminate()
        wait_until(lambda: one_worker.has_logged("Shutting down"))
        with frozen(worker):
            time.sleep(FAREWELL_SECONDS)
            idle.sendall(GET)
        assert b"\r\nconnection: close\r\n" in everything(idle)


async def lost_during(server: Server, act: Callable[[], Awaitable[None]]) -> dict[str, int]:
    """Lost requests of kept and of new connections while act() runs."""
    is_over = asyncio.Event()
    requests = unbroken.gets_until(is_over)
    loads = [
        asyncio.ensure_future(
            unbroken.send_all(server.port, requests, callers=CALLERS, a_second=A_SECOND, is_kept=is_kept)
        )
        for is_kept in (True, False)
    ]
    await act()
    is_over.set()
    tallies = await asyncio.gather(*loads)
    assert all(sum(tally.answered.values()) > CALLERS for tally in tallies)
    return dict(tallies[0].lost + tallies[1].lost)


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


def test_reload_and_other_numbers_of_workers_lose_no_request(database_environment: dict[str, str]) -> None:
    steps = (
        (signal.SIGTTIN, 3, 0),  # workers started and ended so far
        (signal.SIGTTOU, 3, 1),
        (signal.SIGTTIN, 4, 1),
        (signal.SIGHUP, 6, 4),  # back to two workers
    )
    with running(database_environment, RATE_LIMIT_ANONYMOUS="1000000/1") as server:

        async def act() -> None:
            for number, started, ended in steps:
                server.process.send_signal(number)
                await until(partial(server.has_logged, "Application startup complete", started))
                await until(partial(server.has_logged, "Worker exiting", ended))

        assert asyncio.run(lost_during(server, act)) == {}
        wait_until(lambda: len(server.workers) == 2)
        masters, *workers = listening_sockets(server).values()
        assert [len(sockets) for sockets in workers] == [1, 1]
        assert masters == workers[0] | workers[1]
        assert len(masters) == 2


def test_old_worker_accepts_until_the_new_one_does(one_worker: Server) -> None:
    old = one_worker.workers
    one_worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(one_worker.workers) == 2)
    (new,) = set(one_worker.workers) - set(old)
    with frozen(new):
        time.sleep(1)  # more than an idle worker needs to end
        assert one_worker.request("/livez").status == 200
        assert one_worker.workers == [*old, new]


def test_new_master_takes_over_without_losing_a_request(database_environment: dict[str, str]) -> None:
    with running(database_environment, WEB_CONCURRENCY="1", RATE_LIMIT_ANONYMOUS="1000000/1") as server:
        server.process.send_signal(signal.SIGTTIN)
        wait_until(partial(server.has_logged, "Application startup complete", 2))
        workers = server.workers
        new_masters: list[int] = []

        async def act() -> None:
            server.process.send_signal(signal.SIGUSR2)  # starts one worker only
            await until(partial(server.has_logged, "Application startup complete", 3))
            new_masters.extend(set(server.workers) - {*workers})
            server.process.terminate()
            await until(lambda: server.process.poll() is not None)

        try:
            assert asyncio.run(lost_during(server, act)) == {}
            assert {server.request("/livez").status for _ in range(10)} == {200}
        finally:
            for master in new_masters:
                os.kill(master, signal.SIGTERM)
                wait_until(partial(server.has_logged, "Shutting down: Master", 2))


def test_second_instance_on_the_port_is_refused(one_worker: Server, database_environment: dict[str, str]) -> None:
    environment = {**database_environment, "PORT": str(one_worker.port)}
    second = subprocess.run([GUNICORN], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    text = f"farmlokal: cannot listen on 0.0.0.0, port {one_worker.port}: Address already in use\n"
    assert second.stderr.endswith(text)


def test_sockets_of_systemd_are_served(database_environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Path(tmp_path, "log").open("wb") as log:
        environment = {**database_environment, "LISTEN_FDS": "1", "PORT": str(free_port())}
        command = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ exec "{GUNICORN}"'
        process = subprocess.Popen(
            ["bash", "-c", command], env=environment, pass_fds=[listener.fileno()], stdout=log, stderr=log
        )
        try:
            server = Server(listener.getsockname()[1], Path(log.name), process)
            assert server.request("/livez").status == 200
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_restarts_behind_nginx_lose_no_request_and_repeat_none(database_environment: dict[str, str]) -> None:
    make_offers({"name": f"Mango {number}"} for number in range(20))
    plan = rolling.Plan(gets=400, posts=20, webhooks=20, quotes=20, a_second=60)
    report = rolling.run({**database_environment, "WEB_CONCURRENCY": "1"}, plan, is_reloaded=False)
    assert (report.tally.lost, report.wrong_effects) == ({}, [])
    assert report.turns >= 1
