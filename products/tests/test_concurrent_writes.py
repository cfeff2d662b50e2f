"""Writers at the same time, in several processes of the real server, and one that dies half-way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection, transaction

from dev.testing.databases import is_statement_running
from dev.testing.offers import make_farm, make_offer
from dev.testing.servers import Answer, Server, running
from dev.testing.staff import make_staff, product_body, session_headers
from dev.testing.waiting import wait_until
from farmlokal.mysql.transactions import atomic_with_retry
from products import services
from products.models import Farm, IdempotencyKey, Posting, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("live_database")


class Caller:
    """A member of staff at the server."""

    def __init__(self, server: Server, session: dict[str, str]) -> None:
        self.server = server
        self.session = session

    def send(self, method: str, target: str, body: Any, **headers: str) -> Answer:
        text = json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in (self.session | headers).items()]
        return self.server.raw("\r\n".join([*lines, "", ""]).encode() + text)

    def post(self, body: Any, key: str) -> Answer:
        return self.send("POST", "/products", body, Idempotency_Key=key)

    def post_until_answered(self, body: Any, key: str) -> Answer:
        """As a client retries: while the key is taken, or nobody answers."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError, IndexError):
                answer = self.post(body, key)
                if answer.status == 201:
                    return answer
                assert answer.status in {409, 503}, answer
            time.sleep(0.05)
        raise AssertionError("no answer")


@pytest.fixture(scope="module")
def session(live_database: None) -> Iterator[dict[str, str]]:
    user = make_staff()
    yield session_headers(user)
    for model in (IdempotencyKey, Session, get_user_model()):
        model._default_manager.all().delete()


@pytest.fixture(scope="module")
def caller(session: dict[str, str], database_environment: dict[str, str]) -> Iterator[Caller]:
    with running(database_environment, WEB_CONCURRENCY="3") as server:
        yield Caller(server, session)


def at_once(*calls: Any) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [call.result() for call in [threads.submit(call) for call in calls]]


@contextlib.contextmanager
def locking(farm: Farm) -> Iterator[None]:
    """Whoever writes a product of this farm waits."""
    with transaction.atomic():
        Farm.objects.select_for_update().get(pk=farm.pk)
        yield


def is_waiting_for_a_farm() -> bool:
    return is_statement_running("SELECT `products_farm`.`name`")


def test_concurrent_patches_are_applied_one_by_one(caller: Caller) -> None:
    product = make_offer(stock=0)
    calls = [lambda n=n: caller.send("PATCH", f"/products/{product.pk}", {"stock": n}) for n in range(1, 31)]
    answers = at_once(*calls)
    assert [answer.status for answer in answers] == [200] * 30
    assert sorted(answer.json["stock"] for answer in answers) == list(range(1, 31))
    assert Product.objects.get(pk=product.pk).version == 31


def test_one_of_several_writers_with_the_same_etag_succeeds(caller: Caller) -> None:
    url = f"/products/{make_offer(stock=0).pk}"
    for stock in range(1, 6):
        etag = caller.server.request(url).headers["etag"]
        bodies = [{"stock": stock, "variety": f"{n}"} for n in range(8)]
        send = partial(caller.send, "PATCH", url, If_Match=etag)
        assert (
            sorted(answer.status for answer in at_once(*(partial(send, body) for body in bodies))) == [200] + [412] * 7
        )


def test_concurrent_renames_leave_the_words_of_the_last_name(caller: Caller) -> None:
    product = make_offer()
    names = [f"first{n} second{n % 3}" for n in range(20)]
    at_once(*(lambda n=n: caller.send("PATCH", f"/products/{product.pk}", {"name": n}) for n in names))
    stored = Product.objects.get(pk=product.pk)
    terms = Posting.objects.filter(product_id=product.pk).values_list("term", flat=True)
    assert sorted(terms) == sorted(stored.words.split())


def test_concurrent_deletes_withdraw_a_product_once(caller: Caller) -> None:
    product = make_offer()
    answers = at_once(*[lambda: caller.send("DELETE", f"/products/{product.pk}", None)] * 8)
    assert sorted(answer.status for answer in answers) == [204] + [404] * 7
    assert Product.objects.get(pk=product.pk).version == 2


def test_deadlock_victim_is_retried() -> None:
    """Two transactions take two rows in opposite orders, on purpose and for real."""
    pair = [make_offer(stock=0).pk for _ in range(2)]
    meeting = threading.Barrier(2, timeout=10)
    attempts = []

    def take(order: list[int]) -> None:
        try:
            write(order)
        finally:
            connection.close()

    @atomic_with_retry
    def write(order: list[int]) -> None:
        attempts.append(order)
        for pk in order:
            product = services.lock_listed(pk)
            services.change(pk, stock=product.stock + 1)
            if len(attempts) <= 2:
                with contextlib.suppress(threading.BrokenBarrierError):
                    meeting.wait()

    at_once(lambda: take(pair), lambda: take(pair[::-1]))
    assert len(attempts) == 3
    assert [Product.objects.get(pk=pk).stock for pk in pair] == [2, 2]


def test_concurrent_posts_with_one_key_create_one_product(caller: Caller) -> None:
    for n in range(5):
        body = product_body(name=f"Onion {n}")
        answers = at_once(*[lambda body=body, n=n: caller.post(body, f"many-{n}")] * 16)
        made = [answer for answer in answers if answer.status == 201]
        assert {answer.status for answer in answers} <= {201, 409}
        assert len({(answer.body, answer.headers["location"]) for answer in made}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 409)
        assert Product.objects.filter(name=f"Onion {n}").count() == 1


def test_key_of_a_running_request_is_409_without_waiting(caller: Caller) -> None:
    farm = make_farm()
    body = product_body(farm=farm.pk, name="Slow Mango")
    with ThreadPoolExecutor(1) as threads:
        with locking(farm):
            first = threads.submit(caller.post, body, "slow")
            wait_until(is_waiting_for_a_farm)
            start = time.monotonic()
            for again in (body, body | {"price": "1"}):
                answer = caller.post(again, "slow")
                assert (answer.status, answer.json["code"]) == (409, "idempotency-conflict")
                assert answer.headers["retry-after"] == "1"
            assert time.monotonic() - start < 1.8  # who waits for a lock waits for two seconds
        assert first.result().status == 201
    assert caller.post(body, "slow").headers["idempotent-replayed"] == "true"
    assert Product.objects.filter(name="Slow Mango").count() == 1


def test_killed_in_the_middle_the_key_is_free_and_the_retry_makes_one_product(
    session: dict[str, str], database_environment: dict[str, str]
) -> None:
    farm = make_farm()
    body = product_body(farm=farm.pk, name="Interrupted Mango")
    with running(database_environment, WEB_CONCURRENCY="1") as server, ThreadPoolExecutor(1) as threads:
        caller = Caller(server, session)
        with locking(farm):
            first = threads.submit(caller.post, body, "interrupted")
            wait_until(is_waiting_for_a_farm)
            kill_worker(server)
            with pytest.raises((OSError, ValueError, IndexError)):
                first.result()
        assert not Product.objects.filter(name="Interrupted Mango").exists()
        answer = caller.post_until_answered(body, "interrupted")
        assert caller.post(body, "interrupted").body == answer.body
    assert Product.objects.filter(name="Interrupted Mango").count() == 1


def test_killed_at_any_moment_a_retry_makes_one_product(
    session: dict[str, str], database_environment: dict[str, str]
) -> None:
    """Before, in and after the transaction: where the kill hits is left to chance."""
    farm, rng = make_farm(), random.Random(7)
    with running(database_environment, WEB_CONCURRENCY="1") as server, ThreadPoolExecutor(1) as threads:
        caller = Caller(server, session)
        for n in range(12):
            body = product_body(farm=farm.pk, name=f"Chance {n}")
            caller.post_until_answered(body | {"name": "Warm"}, f"warm-{n}")
            answer = threads.submit(caller.post_until_answered, body, f"chance-{n}")
            time.sleep(rng.uniform(0, 0.03))
            kill_worker(server)
            assert answer.result().json["name"] == f"Chance {n}"
    names = list(Product.objects.filter(name__startswith="Chance").values_list("name", flat=True))
    assert sorted(names) == sorted(f"Chance {n}" for n in range(12))


def kill_worker(server: Server) -> None:
    master = server.process.pid
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
