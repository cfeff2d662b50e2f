"""Copies of an event at the same time in several processes, and processes that die at each step of it.

The steps: claimed in Redis, row inserted, product locked, committed, told to Redis. What stops a process between two
of them is real: a lock that the test holds, or a Redis that answers late.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from redis import Redis

from dev.testing.databases import is_statement_running
from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_offer
from dev.testing.proxy import Proxy
from dev.testing.servers import Answer, Server, json_request, own_redis, running
from dev.testing.waiting import wait_until
from farmlokal.http.problems import Problem
from farmlokal.redis.scripts import key
from integrations.models import AppliedVersion, WebhookEvent
from integrations.sandbox.sender import PRICE
from integrations.tests.memory import clean_slate
from integrations.webhooks import claims, handlers, inbox, signatures
from integrations.webhooks.claims import LEASE_SECONDS
from products import services
from products.models import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.testing.servers import Daemon

pytestmark = pytest.mark.usefixtures("live_database")

COPIES = 50
PROCESSES = 4


@pytest.fixture(autouse=True)
def _clean() -> None:
    clean_slate()


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    with running(database_environment, **settings(PROCESSES)) as server:
        connected(server)
        yield server


@pytest.fixture
def product() -> Product:
    return make_offer(price=Decimal("120.00"))


def settings(processes: int) -> dict[str, str]:
    return {"PARTNER_WEBHOOK_SECRETS": SECRET, "WEB_CONCURRENCY": str(processes)}


def post(server: Server, delivery: Delivery) -> Answer:
    return server.post("/webhooks/partner", delivery.body, [*delivery.headers.items()])


def said(answer: Answer) -> str:
    return str(answer.json.get("code") or answer.json["status"])


def all_at_once(server: Server, delivery: Delivery, copies: int = COPIES) -> Counter[str]:
    with ThreadPoolExecutor(copies) as pool:
        return Counter(said(answer) for answer in pool.map(lambda _: post(server, delivery), range(copies)))


def connected(server: Server) -> None:
    """Its threads have their connections to MySQL, which take a busy machine some time."""
    all_at_once(server, Delivery(event(0)))


def assert_counted_once(product: Product, delivery: Delivery, price: str = "47.50", attempts: int = 1) -> None:
    """The effect is there, and once."""
    row = WebhookEvent.objects.get(webhook_id=delivery.webhook_id)
    assert (row.status, row.attempts) == ("processed", attempts)
    after = Product.objects.get(pk=product.pk)
    assert (str(after.price), after.version) == (price, 2)
    assert AppliedVersion.objects.filter(product_id=product.pk).count() == 1


@contextmanager
def locked(product: Product) -> Iterator[None]:
    """Whoever wants to change the product waits."""
    with transaction.atomic():
        services.lock_listed(product.pk)
        yield


def is_waiting() -> bool:
    """For a product."""
    return is_statement_running("FOR UPDATE")


def worker_of(server: Server) -> int:
    """Of a server with one."""
    master = server.process.pid
    (pid,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(pid)


# Copies


def test_of_fifty_copies_one_is_processed(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    outcomes = all_at_once(server, delivery)
    assert outcomes.keys() <= {"processed", "duplicate", "webhook-in-progress"}
    assert outcomes["processed"] == 1
    assert_counted_once(product, delivery)
    assert said(post(server, delivery)) == "duplicate"


def test_of_fifty_copies_without_redis_one_is_processed(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    with own_redis(tmp_path) as redis:
        environment = {**database_environment, "REDIS_URL": redis.url}
        with running(environment, **settings(PROCESSES)) as server:
            connected(server)
            redis.kill()
            delivery = Delivery(event(product.pk))
            outcomes = all_at_once(server, delivery)
            assert outcomes.keys() <= {"processed", "duplicate", "webhook-in-progress"}
            assert outcomes["processed"] == 1
            assert_counted_once(product, delivery)
            assert all_at_once(server, delivery) == {"duplicate": COPIES}


def test_a_copy_in_progress_is_told_when_to_come_again(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    with ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting)
            answer = post(server, delivery)
            assert (answer.status, answer.headers["retry-after"], said(answer)) == (409, "1", "webhook-in-progress")
        assert_answered(first.result())
    until_it_counts(server, delivery)
    assert_counted_once(product, delivery)


def test_events_of_one_product_at_once_leave_the_highest_version(server: Server, product: Product) -> None:
    deliveries = [Delivery(event(product.pk, version=version, price=f"{version}.00")) for version in range(1, 41)]
    with ThreadPoolExecutor(COPIES) as pool:
        outcomes = Counter(said(answer) for answer in pool.map(lambda one: post(server, one), deliveries))
    assert outcomes.keys() <= {"processed", "superseded"}
    after = Product.objects.get(pk=product.pk)
    assert (str(after.price), after.version) == ("40.00", 1 + outcomes["processed"])


def test_those_that_wait_for_a_lock_do_not_delay_the_catalogue(
    database_environment: dict[str, str], product: Product
) -> None:
    with running(database_environment, **settings(1)) as server, ThreadPoolExecutor(40) as pool:
        connected(server)
        with locked(product):
            waiting = [pool.submit(post, server, Delivery(event(product.pk))) for _ in range(40)]
            wait_until(is_waiting)
            time.sleep(0.3)  # until the others have a thread, or queue for one
            began = time.monotonic()
            assert server.request("/products/999999").status == 404  # by Django: nothing keeps this answer
            assert time.monotonic() - began < 1.8  # those wait for two seconds
        for one in waiting:
            one.result()


# Interleavings


def test_a_claim_that_is_lost_while_its_owner_works(server: Server, product: Product) -> None:
    """claimed, inserted - Redis emptied - a copy claims too, and finds the row locked."""
    delivery = Delivery(event(product.pk))
    with ThreadPoolExecutor(2) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting)
            clean_slate()
            copy = pool.submit(post, server, delivery)
            wait_until(lambda: is_statement_running("INSERT INTO `integrations_webhookevent`") or copy.done())
        assert_answered(first.result())
        assert_answered(copy.result())
    until_it_counts(server, delivery)
    assert_counted_once(product, delivery)
    assert said(post(server, delivery)) == "duplicate"


def assert_answered(answer: Answer) -> None:
    """As it may be, by two seconds for a lock on a busy machine."""
    assert said(answer) in {"processed", "duplicate", "webhook-in-progress"}


def test_what_was_committed_late_is_in_the_listing_with_its_copy(server: Server, product: Product) -> None:
    """announced, the commit's answer lost - the announcement ends, a page is kept - committed - a copy comes."""
    delivery, page = Delivery(event(product.pk)), f"/products?ids={product.pk}"
    assert [server.request(page).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
    WebhookEvent.objects.create(webhook_id=delivery.webhook_id, type=PRICE, payload=b"", status="processed")
    Product.objects.filter(pk=product.pk).update(price=Decimal("47.50"))
    assert server.request(page).json["results"][0]["price"] == "120.00"
    assert said(post(server, delivery)) == "duplicate"
    assert server.request(page).json["results"][0]["price"] == "47.50"


def test_a_replay_by_the_command_while_redis_is_silent_is_in_the_listing(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    delivery, page = failed(product), f"/products?ids={product.pk}"
    with own_redis(tmp_path) as redis:
        environment = {**database_environment, "REDIS_URL": redis.url, "PYTHONUNBUFFERED": "1"}
        with running(environment, **settings(1)) as server:
            assert [server.request(page).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
            redis.freeze()
            command = [sys.executable, "manage.py", "replay_webhook", delivery.webhook_id]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as replay:
                assert replay.stdout
                assert any(line.endswith(": processed\n") for line in replay.stdout)  # behind what it logs
                redis.thaw()
                assert replay.wait(timeout=20) == 0
            wait_until(lambda: server.request(page).headers["x-cache"] == "hit")
            assert server.request(page).json["results"][0]["price"] == "47.50"


def test_what_is_being_replayed_is_not_pruned() -> None:
    long_ago = timezone.now() - dt.timedelta(days=31)
    rows = [WebhookEvent(webhook_id=f"old_{n}", type=PRICE, payload=b"", received_at=long_ago) for n in range(3)]
    WebhookEvent.objects.bulk_create(rows)

    def prune() -> None:
        with contextlib.closing(connection):
            call_command("prune_webhooks")

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        replayed = WebhookEvent.objects.select_for_update().get(webhook_id="old_1")
        pool.submit(prune).result()
        replayed.replays.create(by="asha", outcome="failed")
    assert list(WebhookEvent.objects.filter(webhook_id__startswith="old_")) == [replayed]
    call_command("prune_webhooks")
    assert not WebhookEvent.objects.filter(webhook_id__startswith="old_").exists()


def failed(product: Product) -> Delivery:
    """One whose first attempt has failed."""
    delivery = Delivery(event(product.pk))
    WebhookEvent.objects.create(webhook_id=delivery.webhook_id, type=PRICE, payload=delivery.body, attempts=1)
    return delivery


def test_a_retry_whose_claim_is_lost_while_it_works(server: Server, product: Product) -> None:
    """claimed, row locked - Redis emptied - a copy claims too, and is told at once."""
    delivery = failed(product)
    with ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting)
            clean_slate()
            began = time.monotonic()
            assert said(post(server, delivery)) == "webhook-in-progress"
            assert time.monotonic() - began < 1.8  # a statement may wait for two
        assert_answered(first.result())
    until_it_counts(server, delivery)
    assert_counted_once(product, delivery, attempts=2)


def test_a_replay_while_a_delivery_works(server: Server, product: Product) -> None:
    delivery = failed(product)
    row = WebhookEvent.objects.get(webhook_id=delivery.webhook_id)
    with ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting)
            with pytest.raises(Problem, match="is being processed right now"):
                inbox.replay(row.pk, "asha")
        assert_answered(first.result())
    until_it_counts(server, delivery)
    assert_counted_once(product, delivery, attempts=2)
    assert not row.replays.exists()
    assert inbox.replay(row.pk, "asha") == "duplicate"


def test_a_product_that_somebody_else_holds(server: Server, product: Product) -> None:
    """For longer than a statement waits: nothing is written, and it is no attempt."""
    delivery = Delivery(event(product.pk))
    with locked(product):
        answer = post(server, delivery)
        assert (answer.status, said(answer)) == (409, "webhook-in-progress")
        assert not WebhookEvent.objects.filter(webhook_id=delivery.webhook_id).exists()
    assert said(post(server, delivery)) == "processed"
    assert_counted_once(product, delivery)


def test_a_deadlock_starts_all_of_it_anew(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = handlers.HANDLERS[PRICE].apply
    lost: list[int] = []

    def loses_one(data: dict[str, Any]) -> None:
        apply(data)
        if not lost:
            lost.append(1)
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")

    monkeypatch.setitem(handlers.HANDLERS, PRICE, handlers.HANDLERS[PRICE]._replace(apply=loses_one))
    delivery = Delivery(event(product.pk))
    assert inbox.receive(signatures.Delivery(delivery.webhook_id, delivery.body.decode(), {})) == "processed"
    assert lost
    assert_counted_once(product, delivery)


class Relay:
    """On the way to MySQL. While it loses commits, one gets there, and its answer does not come back."""

    def __init__(self, target: int) -> None:
        self.loses_commits = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                is_lost = threading.Event()
                threading.Thread(target=self._ask, args=(ours, theirs, is_lost), daemon=True).start()
                threading.Thread(target=self._answer, args=(ours, theirs, is_lost), daemon=True).start()

    def _ask(self, ours: socket.socket, theirs: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError), theirs:
            while said := ours.recv(65536):
                if self.loses_commits and said[5:].lower() == b"commit":  # behind a length and the code of a query
                    is_lost.set()
                theirs.sendall(said)

    def _answer(self, ours: socket.socket, theirs: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError), ours:
            while (said := theirs.recv(65536)) and not is_lost.is_set():
                ours.sendall(said)
            ours.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_a_commit_whose_answer_is_lost_has_done_it(database_environment: dict[str, str], product: Product) -> None:
    at = urlsplit(database_environment["DATABASE_URL"])
    assert at.port
    with contextlib.closing(Relay(at.port)) as relay:
        netloc = at.netloc.replace(f":{at.port}", f":{relay.port}")
        environment = {**database_environment, "DATABASE_URL": at._replace(netloc=netloc).geturl()}
        with running(environment, **settings(1)) as server:
            delivery = Delivery(event(product.pk))
            relay.loses_commits = True
            answer = post(server, delivery)
            assert (answer.status, said(answer)) == (503, "database-unavailable")
            relay.loses_commits = False
            assert until_it_counts(server, delivery)[-1] == "duplicate"
    assert_counted_once(product, delivery)


def test_a_redis_that_takes_no_writes(database_environment: dict[str, str], product: Product, tmp_path: Path) -> None:
    with own_redis(tmp_path, "--maxmemory", "1") as redis:
        environment = {**database_environment, "REDIS_URL": redis.url}
        with running(environment, **settings(PROCESSES)) as server:
            connected(server)
            delivery = Delivery(event(product.pk))
            outcomes = all_at_once(server, delivery)
            assert outcomes.keys() <= {"processed", "duplicate", "webhook-in-progress"}
            assert outcomes["processed"] == 1
            assert_counted_once(product, delivery)
            assert said(post(server, delivery)) == "duplicate"


def test_nobody_gives_back_the_claim_of_another() -> None:
    assert claims.claim("msg_1", "one") == "ours"
    claims.release("msg_1", "another")
    assert claims.claim("msg_1", "another") == "taken"
    claims.release("msg_1", "one")
    assert claims.claim("msg_1", "another") == "ours"


def test_a_process_that_dies_before_its_commit_leaves_nothing(
    database_environment: dict[str, str], product: Product
) -> None:
    """claimed, inserted - killed - the claim ends, and the next delivery counts."""
    delivery = Delivery(event(product.pk))
    with running(database_environment, **settings(1)) as server, ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting)
            os.kill(worker_of(server), signal.SIGKILL)
            with pytest.raises((OSError, ValueError, IndexError)):
                first.result()
        assert not WebhookEvent.objects.filter(webhook_id=delivery.webhook_id).exists()
        assert Product.objects.get(pk=product.pk).version == 1
        answers = until_it_counts(server, delivery)
    assert answers[-1] == "processed"
    assert_counted_once(product, delivery)


def until_it_counts(server: Server, delivery: Delivery) -> list[str]:
    """What a sender hears that keeps trying."""
    heard: list[str] = []

    def is_done() -> bool:
        try:
            heard.append(said(post(server, delivery)))
        except (OSError, ValueError, IndexError):  # a worker that is not there yet
            return False
        return heard[-1] in {"processed", "duplicate"}

    wait_until(is_done, LEASE_SECONDS + 10)
    return heard


def test_a_process_that_dies_after_its_commit_has_done_it(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    """claimed, committed - the process is killed before Redis knows - the claim ends, and MySQL knows."""
    delivery = Delivery(event(product.pk))
    with own_redis(tmp_path) as redis, Proxy(urlsplit(redis.url).port or 0) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        environment = {**database_environment, "REDIS_URL": url, "REDIS_TIMEOUT_SECONDS": "1"}
        with running(environment, **settings(1)) as server, ThreadPoolExecutor(1) as pool:
            with locked(product):
                first = pool.submit(post, server, delivery)
                wait_until(is_waiting)
                proxy.behave("slow", 0.6)  # so that it waits between its commit and the end of its claim
            wait_until(lambda: WebhookEvent.objects.filter(webhook_id=delivery.webhook_id).exists())
            os.kill(worker_of(server), signal.SIGKILL)
            with pytest.raises((OSError, ValueError, IndexError)):
                first.result()
            proxy.behave("pass")
            assert is_claimed(redis, delivery)
            assert until_it_counts(server, delivery)[-1] == "duplicate"
    assert_counted_once(product, delivery)


def is_claimed(redis: Daemon, delivery: Delivery) -> bool:
    with Redis.from_url(redis.url) as client:
        found = client.get(key("webhook", delivery.webhook_id))
    return found not in {None, b"done"}


# At the door


def test_a_body_in_chunks_is_read(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    lines = ["POST /webhooks/partner HTTP/1.1", "Host: localhost", "Connection: close", "Transfer-Encoding: chunked"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in delivery.headers.items())]
    half = len(delivery.body) // 2
    chunks = [delivery.body[:half], delivery.body[half:], b""]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    answer = server.raw("\r\n".join([*lines, "", ""]).encode() + body)
    assert (answer.status, said(answer)) == (200, "processed")


def test_a_body_beyond_the_limit_is_413(server: Server) -> None:
    delivery = Delivery(b" " * (256 * 1024 + 1))
    answer = post(server, delivery)
    assert (answer.status, said(answer)) == (413, "payload-too-large")
    assert "262144" in answer.json["detail"]


def test_headers_that_come_twice(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    for name in delivery.headers:
        headers = [*delivery.headers.items(), (name, delivery.headers[name])]
        answer = server.post("/webhooks/partner", delivery.body, headers)
        assert (answer.status, said(answer)) == (401, "signature-invalid")


def test_without_mysql_it_is_503(database_environment: dict[str, str]) -> None:
    environment = {**database_environment, "DATABASE_URL": "mysql://nobody:x@127.0.0.1:1/nothing"}
    with running(environment, **settings(1)) as server:
        delivery = Delivery(event(1))
        for _ in range(2):  # the claim was given back
            answer = post(server, delivery)
            assert (answer.status, said(answer)) == (503, "database-unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert said(post(server, Delivery(event(1), signature="v1,x"))) == "signature-invalid"


def test_on_a_kept_connection_large_bodies_are_all_answered(server: Server) -> None:
    """Also where one comes while the answer before it is being ended."""
    for _ in range(12):
        with server.connect() as connection:
            for size in (1000, 200_000, 200_000):
                delivery = Delivery({**event(event_type="order.created"), "note": "x" * size})
                connection.sendall(json_request("/webhooks/partner", delivery.body, [*delivery.headers.items()]))
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_bodies_in_very_many_pieces_keep_nobody_waiting(server: Server) -> None:
    head = (
        b"POST /webhooks/partner HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    request = head + b"1\r\nx\r\n" * 250_000 + b"0\r\n\r\n"
    with ThreadPoolExecutor(PROCESSES) as pool:
        sent = [pool.submit(server.raw, request) for _ in range(PROCESSES)]
        slowest = 0.0
        while not all(one.done() for one in sent):
            began = time.monotonic()
            assert server.request("/livez").status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert {said(one.result()) for one in sent} == {"signature-invalid"}
    assert 0 < slowest < 1.5
