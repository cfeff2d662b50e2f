"""Simultaneous copies of an event in several processes, and processes that die at each step.

The steps: claimed in Redis, row inserted, product locked, committed, marked done in Redis. A lock that the test holds,
or a slow Redis, stops a process between two steps.
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
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from redis import Redis

from dev.testing.databases import is_statement_running
from dev.testing.deliveries import SECRET, BrokenHandler, Delivery, event
from dev.testing.offers import make_offer
from dev.testing.proxy import Proxy
from dev.testing.servers import Answer, Daemon, Server, json_request, own_redis, running
from dev.testing.waiting import wait_until
from farmlokal.http.problems import Problem
from farmlokal.redis.scripts import spread_key
from integrations.models import AppliedVersion, WebhookEvent
from integrations.sandbox.sender import PRICE
from integrations.tests.memory import reset_all
from integrations.webhooks import claims, handlers, inbox, signatures
from integrations.webhooks.claims import LEASE_SECONDS
from products import services
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

COPIES = 50
PROCESSES = 4


@pytest.fixture(autouse=True)
def _clean() -> None:
    reset_all()


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    with running(database_environment, **settings(PROCESSES)) as server:
        warm_up(server)
        yield server


@pytest.fixture
def product() -> Product:
    return make_offer(price=Decimal("120.00"))


def settings(processes: int) -> dict[str, str]:
    return {"PARTNER_WEBHOOK_SECRETS": SECRET, "WEB_CONCURRENCY": str(processes)}


def post(server: Server, delivery: Delivery) -> Answer:
    return server.post("/webhooks/partner", delivery.body, [*delivery.headers.items()])


def outcome_of(answer: Answer) -> str:
    return str(answer.json.get("code") or answer.json["status"])


def all_at_once(server: Server, delivery: Delivery, copies: int = COPIES) -> Counter[str]:
    with ThreadPoolExecutor(copies) as pool:
        return Counter(outcome_of(answer) for answer in pool.map(lambda _: post(server, delivery), range(copies)))


def warm_up(server: Server) -> None:
    """Make all threads connect to MySQL, which takes time on a busy machine."""
    all_at_once(server, Delivery(event(0)))


def assert_one_effect(product: Product, delivery: Delivery, price: str = "47.50", attempts: int = 1) -> None:
    row = WebhookEvent.objects.get(webhook_id=delivery.webhook_id)
    assert (row.status, row.attempts) == ("processed", attempts)
    after = Product.objects.get(pk=product.pk)
    assert (str(after.price), after.version) == (price, 2)
    assert AppliedVersion.objects.filter(product_id=product.pk).count() == 1


@contextmanager
def locked(product: Product) -> Iterator[None]:
    """Hold the product's lock, so that its events wait."""
    with transaction.atomic():
        services.lock_listed(product.pk)
        yield


def is_waiting_for_lock() -> bool:
    return is_statement_running("FOR UPDATE")


def worker_of(server: Server) -> int:
    """The process id of a server's only worker."""
    (pid,) = server.workers
    return pid


# Copies


def test_one_of_fifty_copies_is_processed(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    outcomes = all_at_once(server, delivery)
    assert outcomes.keys() <= {"processed", "duplicate", "webhook-in-progress"}
    assert outcomes["processed"] == 1
    assert_one_effect(product, delivery)
    assert outcome_of(post(server, delivery)) == "duplicate"


def test_one_of_fifty_copies_is_processed_without_redis(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    with own_redis(tmp_path) as redis:
        environment = {**database_environment, "REDIS_URL": redis.url}
        with running(environment, **settings(PROCESSES)) as server:
            warm_up(server)
            redis.kill()
            delivery = Delivery(event(product.pk))
            outcomes = all_at_once(server, delivery)
            assert outcomes.keys() <= {"processed", "duplicate", "webhook-in-progress"}
            assert outcomes["processed"] == 1
            assert_one_effect(product, delivery)
            assert all_at_once(server, delivery) == {"duplicate": COPIES}


def test_copy_in_progress_gets_retry_after(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    with ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting_for_lock)
            answer = post(server, delivery)
            assert (answer.status, outcome_of(answer)) == (409, "webhook-in-progress")
            assert answer.headers["retry-after"] == "1"
        assert_answered(first.result())
    retry_until_done(server, delivery)
    assert_one_effect(product, delivery)


def test_simultaneous_events_leave_the_highest_version(server: Server, product: Product) -> None:
    deliveries = [Delivery(event(product.pk, version=version, price=f"{version}.00")) for version in range(1, 41)]
    with ThreadPoolExecutor(COPIES) as pool:
        outcomes = Counter(outcome_of(answer) for answer in pool.map(lambda one: post(server, one), deliveries))
    assert outcomes.keys() <= {"processed", "superseded"}
    after = Product.objects.get(pk=product.pk)
    assert (str(after.price), after.version) == ("40.00", 1 + outcomes["processed"])


def test_waiting_webhooks_do_not_delay_the_catalogue(database_environment: dict[str, str], product: Product) -> None:
    with running(database_environment, **settings(1)) as server, ThreadPoolExecutor(40) as pool:
        warm_up(server)
        with locked(product):
            waiting = [pool.submit(post, server, Delivery(event(product.pk))) for _ in range(40)]
            wait_until(is_waiting_for_lock)
            time.sleep(0.3)  # until the others have a thread, or queue for one
            assert server.request("/products/999999").status == 404  # Django answers, since no cache holds this page
            assert sum(one.done() for one in waiting) < len(waiting) / 2
        for one in waiting:
            one.result()


# Interleavings


def test_claim_lost_while_its_owner_works(server: Server, product: Product) -> None:
    """Redis is emptied after the first process inserted the row; a copy claims too, and finds the row locked."""
    delivery = Delivery(event(product.pk))
    with ThreadPoolExecutor(2) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting_for_lock)
            reset_all()
            copy = pool.submit(post, server, delivery)
            wait_until(lambda: is_statement_running(INSERT_EVENT) or copy.done())
        assert_answered(first.result())
        assert_answered(copy.result())
    retry_until_done(server, delivery)
    assert_one_effect(product, delivery)
    assert outcome_of(post(server, delivery)) == "duplicate"


def receive(delivery: Delivery) -> str:
    """From a thread of this process."""
    try:
        return inbox.receive(signatures.Delivery(delivery.webhook_id, delivery.body.decode(), {}))
    finally:
        connection.close()


INSERT_EVENT = "INSERT INTO `integrations_webhookevent`"
STATEMENTS = [
    *(INSERT_EVENT, "SELECT * FROM products_product", "UPDATE `integrations_appliedversion`"),
    *("INSERT IGNORE INTO `integrations_appliedversion`", "UPDATE `products_product`", "UPDATE `products_posting`"),
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_one_of_two_copies_is_processed_in_any_interleaving(product: Product, statement: str) -> None:
    """Redis is emptied, and a copy arrives, before this statement of the first delivery."""
    delivery = Delivery(event(product.pk))
    is_stopped, may_go_on = threading.Event(), threading.Event()

    def stop_once(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(statement) and not is_stopped.is_set():
            is_stopped.set()
            assert may_go_on.wait(60)
        return execute(sql, *args)

    def receive_with_a_stop() -> str:
        with connection.execute_wrapper(stop_once):
            return receive(delivery)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(receive_with_a_stop)
        wait_until(is_stopped.is_set)
        reset_all()
        copy = pool.submit(receive, delivery)
        wait_until(lambda: copy.done() or is_statement_running(INSERT_EVENT))
        assert copy.done() == (statement == INSERT_EVENT)
        may_go_on.set()
        outcomes = [first.result(), copy.result()]
    assert outcomes == (["duplicate", "processed"] if statement == INSERT_EVENT else ["processed", "duplicate"])
    assert_one_effect(product, delivery)


def test_copy_of_a_failing_delivery_is_processed_once(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy waits at its INSERT, and is done before the failure is stored."""
    delivery, apply = Delivery(event(product.pk)), handlers.HANDLERS[PRICE].apply
    failures: list[RuntimeError] = []

    def fail_once(*args: Any) -> None:
        apply(*args)
        if not failures:
            failures.append(RuntimeError("the handler is broken"))
            reset_all()
            copies.append(pool.submit(receive, delivery))
            wait_until(lambda: is_statement_running(INSERT_EVENT))
            raise failures[0]

    def store_after_the_copy(delivery: Any, event: Any, failure: Exception | None) -> str:
        if failure:
            copies[0].result()
        return process_known(delivery, event, failure)

    process_known = inbox._process_known
    monkeypatch.setattr(inbox, "_process_known", store_after_the_copy)
    monkeypatch.setitem(handlers.HANDLERS, PRICE, handlers.HANDLERS[PRICE]._replace(apply=fail_once))
    copies: list[Future[str]] = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(receive, delivery)
        assert (first.result(), copies[0].result()) == ("duplicate", "processed")
    assert_one_effect(product, delivery)


def test_failures_count_as_attempts_if_redis_forgot_them(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Delivery(event(product.pk))
    monkeypatch.setitem(handlers.HANDLERS, PRICE, handlers.HANDLERS[PRICE]._replace(apply=BrokenHandler(2)))
    for _ in range(2):
        with pytest.raises(Problem, match="handler of this event failed"):
            receive(delivery)
        reset_all()
    assert WebhookEvent.objects.get(webhook_id=delivery.webhook_id).attempts == 2
    assert receive(delivery) == "processed"
    assert_one_effect(product, delivery, attempts=3)


def assert_answered(answer: Answer) -> None:
    """A busy machine may exceed the two seconds that a statement waits for a lock."""
    assert outcome_of(answer) in {"processed", "duplicate", "webhook-in-progress"}


def test_copy_of_a_late_commit_refreshes_the_listing(server: Server, product: Product) -> None:
    """The commit's reply was lost. The announcement expired and a page was cached before the commit."""
    delivery, page = Delivery(event(product.pk)), f"/products?ids={product.pk}"
    assert [server.request(page).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
    WebhookEvent.objects.create(webhook_id=delivery.webhook_id, type=PRICE, payload=b"", status="processed")
    Product.objects.filter(pk=product.pk).update(price=Decimal("47.50"))
    assert server.request(page).json["results"][0]["price"] == "120.00"
    assert outcome_of(post(server, delivery)) == "duplicate"
    assert server.request(page).json["results"][0]["price"] == "47.50"


def test_replay_during_redis_silence_refreshes_the_listing(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    delivery, page = make_failed_delivery(product), f"/products?ids={product.pk}"
    with own_redis(tmp_path) as redis:
        environment = {**database_environment, "REDIS_URL": redis.url, "PYTHONUNBUFFERED": "1"}
        with running(environment, **settings(1)) as server:
            assert [server.request(page).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
            redis.freeze()
            command = [sys.executable, "manage.py", "replay_webhook", delivery.webhook_id]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as replay:
                assert replay.stdout
                assert any(line.endswith(": processed\n") for line in replay.stdout)  # after its log lines
                redis.thaw()
                assert replay.wait(timeout=20) == 0
            wait_until(lambda: server.request(page).headers["x-cache"] == "hit")
            assert server.request(page).json["results"][0]["price"] == "47.50"


def test_event_in_replay_is_not_pruned() -> None:
    long_ago = timezone.now() - dt.timedelta(days=31)
    rows = [WebhookEvent(webhook_id=f"old_{n}", type=PRICE, payload=b"", received_at=long_ago) for n in range(3)]
    WebhookEvent.objects.bulk_create(rows)

    def prune() -> None:
        with contextlib.closing(connection):
            call_command("prune")

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        replayed = WebhookEvent.objects.select_for_update().get(webhook_id="old_1")
        pool.submit(prune).result()
        replayed.replays.create(by="asha", outcome="failed")
    assert list(WebhookEvent.objects.filter(webhook_id__startswith="old_")) == [replayed]
    call_command("prune")
    assert not WebhookEvent.objects.filter(webhook_id__startswith="old_").exists()


def make_failed_delivery(product: Product) -> Delivery:
    delivery = Delivery(event(product.pk))
    WebhookEvent.objects.create(webhook_id=delivery.webhook_id, type=PRICE, payload=delivery.body, attempts=1)
    return delivery


def test_retry_whose_claim_is_lost_while_it_works(server: Server, product: Product) -> None:
    """Redis is emptied after the retry locked its row; a copy claims too, and finds the row locked."""
    delivery = make_failed_delivery(product)
    with ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting_for_lock)
            reset_all()
            assert outcome_of(post(server, delivery)) == "webhook-in-progress"
        assert_answered(first.result())
    retry_until_done(server, delivery)
    assert_one_effect(product, delivery, attempts=2)


def test_replay_during_a_delivery_is_refused(server: Server, product: Product) -> None:
    delivery = make_failed_delivery(product)
    row = WebhookEvent.objects.get(webhook_id=delivery.webhook_id)
    with ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting_for_lock)
            with pytest.raises(Problem, match="is being processed right now"):
                inbox.replay(row.pk, "asha")
        assert_answered(first.result())
    retry_until_done(server, delivery)
    assert_one_effect(product, delivery, attempts=2)
    assert not row.replays.exists()
    assert inbox.replay(row.pk, "asha") == "duplicate"


def test_locked_product_is_409_and_no_attempt(server: Server, product: Product) -> None:
    """The lock is held longer than a statement waits."""
    delivery = Delivery(event(product.pk))
    with locked(product):
        answer = post(server, delivery)
        assert (answer.status, outcome_of(answer)) == (409, "webhook-in-progress")
        assert not WebhookEvent.objects.filter(webhook_id=delivery.webhook_id).exists()
    assert outcome_of(post(server, delivery)) == "processed"
    assert_one_effect(product, delivery)


def test_deadlock_restarts_the_transaction(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = handlers.HANDLERS[PRICE].apply
    deadlocks: list[int] = []

    def deadlock_once(product: Product, data: dict[str, Any]) -> None:
        apply(product, data)
        if not deadlocks:
            deadlocks.append(1)
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")

    monkeypatch.setitem(handlers.HANDLERS, PRICE, handlers.HANDLERS[PRICE]._replace(apply=deadlock_once))
    delivery = Delivery(event(product.pk))
    assert receive(delivery) == "processed"
    assert deadlocks
    assert_one_effect(product, delivery)


class Relay:
    """A proxy before MySQL. While loses_commits is set, it forwards a commit but not its reply."""

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
            while sent := ours.recv(65536):
                if self.loses_commits and sent[5:].lower() == b"commit":  # after a length and the code of a query
                    is_lost.set()
                theirs.sendall(sent)

    def _answer(self, ours: socket.socket, theirs: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError), ours:
            while (reply := theirs.recv(65536)) and not is_lost.is_set():
                ours.sendall(reply)
            ours.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_commit_with_lost_reply_has_its_effect(database_environment: dict[str, str], product: Product) -> None:
    at = urlsplit(database_environment["DATABASE_URL"])
    assert at.port
    with contextlib.closing(Relay(at.port)) as relay:
        netloc = at.netloc.replace(f":{at.port}", f":{relay.port}")
        environment = {**database_environment, "DATABASE_URL": at._replace(netloc=netloc).geturl()}
        with running(environment, **settings(1)) as server:
            delivery = Delivery(event(product.pk))
            relay.loses_commits = True
            answer = post(server, delivery)
            assert (answer.status, outcome_of(answer)) == (503, "database-unavailable")
            relay.loses_commits = False
            assert retry_until_done(server, delivery)[-1] == "duplicate"
    assert_one_effect(product, delivery)


def test_one_copy_is_processed_if_redis_is_full(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    with own_redis(tmp_path, "--maxmemory", "1") as redis:
        environment = {**database_environment, "REDIS_URL": redis.url}
        with running(environment, **settings(PROCESSES)) as server:
            warm_up(server)
            delivery = Delivery(event(product.pk))
            outcomes = all_at_once(server, delivery)
            assert outcomes.keys() <= {"processed", "duplicate", "webhook-in-progress"}
            assert outcomes["processed"] == 1
            assert_one_effect(product, delivery)
            assert outcome_of(post(server, delivery)) == "duplicate"


def test_only_the_owner_releases_a_claim() -> None:
    assert claims.claim("msg_1", "one") == "ours"
    claims.release("msg_1", "another")
    assert claims.claim("msg_1", "another") == "taken"
    claims.release("msg_1", "one")
    assert claims.claim("msg_1", "another") == "ours"


def test_process_killed_before_commit_leaves_nothing(database_environment: dict[str, str], product: Product) -> None:
    """The claim expires, and the next delivery is processed."""
    delivery = Delivery(event(product.pk))
    with running(database_environment, **settings(1)) as server, ThreadPoolExecutor(1) as pool:
        with locked(product):
            first = pool.submit(post, server, delivery)
            wait_until(is_waiting_for_lock)
            os.kill(worker_of(server), signal.SIGKILL)
            with pytest.raises((OSError, ValueError, IndexError)):
                first.result()
        assert not WebhookEvent.objects.filter(webhook_id=delivery.webhook_id).exists()
        assert Product.objects.get(pk=product.pk).version == 1
        answers = retry_until_done(server, delivery)
    assert answers[-1] == "processed"
    assert_one_effect(product, delivery)


def retry_until_done(server: Server, delivery: Delivery) -> list[str]:
    """The outcomes that a sender gets."""
    outcomes: list[str] = []

    def is_done() -> bool:
        try:
            outcomes.append(outcome_of(post(server, delivery)))
        except (OSError, ValueError, IndexError):  # the new worker has not started yet
            return False
        return outcomes[-1] in {"processed", "duplicate"}

    wait_until(is_done, LEASE_SECONDS + 10)
    return outcomes


def test_process_killed_after_commit_has_its_effect(
    database_environment: dict[str, str], product: Product, tmp_path: Path
) -> None:
    """It is killed before it marks the event as done in Redis. MySQL knows it when the claim expires."""
    delivery = Delivery(event(product.pk))
    with own_redis(tmp_path) as redis, Proxy(redis.url) as proxy:
        environment = {**database_environment, "REDIS_URL": proxy.url, "REDIS_TIMEOUT_SECONDS": "1"}
        with running(environment, **settings(1)) as server, ThreadPoolExecutor(1) as pool:
            with locked(product):
                first = pool.submit(post, server, delivery)
                wait_until(is_waiting_for_lock)
                proxy.behave("slow", 0.6)  # to stop it between its commit and the end of its claim
            wait_until(lambda: WebhookEvent.objects.filter(webhook_id=delivery.webhook_id).exists())
            os.kill(worker_of(server), signal.SIGKILL)
            with pytest.raises((OSError, ValueError, IndexError)):
                first.result()
            proxy.behave("pass")
            assert is_claimed(redis, delivery)
            assert retry_until_done(server, delivery)[-1] == "duplicate"
    assert_one_effect(product, delivery)


def is_claimed(redis: Daemon, delivery: Delivery) -> bool:
    with Redis.from_url(redis.url) as client:
        value = client.get(spread_key("webhook", delivery.webhook_id))
    return value not in {None, b"done"}


# HTTP


def test_chunked_body_is_read(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    lines = ["POST /webhooks/partner HTTP/1.1", "Host: localhost", "Connection: close", "Transfer-Encoding: chunked"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in delivery.headers.items())]
    half = len(delivery.body) // 2
    chunks = [delivery.body[:half], delivery.body[half:], b""]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    answer = server.raw("\r\n".join([*lines, "", ""]).encode() + body)
    assert (answer.status, outcome_of(answer)) == (200, "processed")


def test_body_over_the_limit_is_413(server: Server) -> None:
    delivery = Delivery(b" " * (256 * 1024 + 1))
    answer = post(server, delivery)
    assert (answer.status, outcome_of(answer)) == (413, "payload-too-large")
    assert "262144" in answer.json["detail"]


def test_repeated_headers_are_refused(server: Server, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    for name in delivery.headers:
        headers = [*delivery.headers.items(), (name, delivery.headers[name])]
        answer = server.post("/webhooks/partner", delivery.body, headers)
        assert (answer.status, outcome_of(answer)) == (401, "signature-invalid")


def test_no_mysql_is_503(database_environment: dict[str, str]) -> None:
    environment = {**database_environment, "DATABASE_URL": "mysql://nobody:x@127.0.0.1:1/nothing"}
    with running(environment, **settings(1)) as server:
        delivery = Delivery(event(1))
        for _ in range(2):  # the claim was released
            answer = post(server, delivery)
            assert (answer.status, outcome_of(answer)) == (503, "database-unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert outcome_of(post(server, Delivery(event(1), signature="v1,x"))) == "signature-invalid"


def test_large_bodies_share_a_connection(server: Server) -> None:
    for _ in range(12):
        with server.connect() as connection:
            for size in (1000, 200_000, 200_000):
                delivery = Delivery({**event(event_type="order.created"), "note": "x" * size})
                connection.sendall(json_request("/webhooks/partner", delivery.body, [*delivery.headers.items()]))
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_bodies_of_many_chunks_do_not_block_others(server: Server) -> None:
    head = (
        b"POST /webhooks/partner HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    request = head + b"1\r\nx\r\n" * 250_000 + b"0\r\n\r\n"
    with ThreadPoolExecutor(PROCESSES) as pool:
        sent = [pool.submit(server.raw, request) for _ in range(PROCESSES)]
        probes = 0
        while not all(one.done() for one in sent):
            assert server.request("/livez").status == 200
            probes += 1
        assert {outcome_of(one.result()) for one in sent} == {"signature-invalid"}
    assert probes > 1
