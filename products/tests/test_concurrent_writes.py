"""Concurrent writers in several processes of the real server, and writers that are killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test import Client

from dev.testing import killed_posts
from dev.testing.databases import is_statement_running
from dev.testing.offers import make_farm, make_offer
from dev.testing.servers import Answer, Server, running
from dev.testing.staff import make_staff, product_body, session_headers
from dev.testing.waiting import wait_until
from farmlokal.mysql.transactions import atomic_with_retry
from products import services
from products.models import Farm, IdempotencyKey, Posting, Product

pytestmark = pytest.mark.usefixtures("live_database")


class Caller:
    """A staff user who sends requests to the server."""

    def __init__(self, server: Server, session: dict[str, str]) -> None:
        self.server = server
        self.session = session

    def send(self, method: str, target: str, body: Any, **headers: str) -> Answer:
        text = json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in (self.session | headers).items()]
        return self.server.raw("\r\n".join([*lines, "", ""]).encode() + text)


@pytest.fixture(scope="module")
def user(live_database: None) -> Iterator[Any]:
    yield make_staff()
    for model in (IdempotencyKey, Session, get_user_model()):
        model._default_manager.all().delete()


@pytest.fixture(scope="module")
def caller(user: Any, database_environment: dict[str, str]) -> Iterator[Caller]:
    with running(database_environment, WEB_CONCURRENCY="3") as server:
        yield Caller(server, session_headers(user))


def run_concurrently(*calls: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [call.result() for call in [threads.submit(call) for call in calls]]


@contextlib.contextmanager
def locked(farm: Farm) -> Iterator[None]:
    """Other writers of the farm's products wait until the block ends."""
    with transaction.atomic():
        Farm.objects.select_for_update().get(pk=farm.pk)
        yield


def is_waiting_for_a_farm() -> bool:
    return is_statement_running("SELECT `products_farm`.`name`")


def test_concurrent_patches_are_applied_one_by_one(caller: Caller) -> None:
    product = make_offer(stock=0)
    stocks = list(range(1, 13))
    answers = run_concurrently(
        *(partial(caller.send, "PATCH", f"/products/{product.pk}", {"stock": stock}) for stock in stocks)
    )
    assert [answer.status for answer in answers] == [200] * len(stocks)
    assert sorted(answer.json["stock"] for answer in answers) == stocks
    assert Product.objects.get(pk=product.pk).version == 1 + len(stocks)


def test_one_of_several_writers_with_the_same_etag_succeeds(caller: Caller) -> None:
    url = f"/products/{make_offer(stock=0).pk}"
    for stock in range(1, 6):
        etag = caller.server.request(url).headers["etag"]
        bodies = [{"stock": stock, "variety": f"{n}"} for n in range(8)]
        answers = run_concurrently(*(partial(caller.send, "PATCH", url, body, If_Match=etag) for body in bodies))
        assert sorted(answer.status for answer in answers) == [200] + [412] * 7


def test_concurrent_renames_leave_the_words_of_the_last_name(caller: Caller) -> None:
    product = make_offer()
    names = [f"first{n} second{n % 3}" for n in range(12)]
    answers = run_concurrently(
        *(partial(caller.send, "PATCH", f"/products/{product.pk}", {"name": name}) for name in names)
    )
    assert [answer.status for answer in answers] == [200] * len(names)
    product.refresh_from_db()
    terms = Posting.objects.filter(product_id=product.pk).values_list("term", flat=True)
    assert sorted(terms) == sorted(product.words.split())
    assert set(product.name.split()) <= set(terms)


def test_concurrent_deletes_withdraw_a_product_once(caller: Caller) -> None:
    product = make_offer()
    answers = run_concurrently(*[partial(caller.send, "DELETE", f"/products/{product.pk}", None)] * 8)
    assert sorted(answer.status for answer in answers) == [204] + [404] * 7
    assert Product.objects.get(pk=product.pk).version == 2


def test_deadlock_victim_is_retried() -> None:
    """Two transactions lock the same two rows in opposite orders."""
    pks = [make_offer(stock=0).pk for _ in range(2)]
    both_hold_one_lock = threading.Barrier(2, timeout=60)
    attempts: list[list[int]] = []

    @atomic_with_retry
    def increment(order: list[int]) -> None:
        is_first_attempt = order not in attempts
        attempts.append(order)
        for pk in order:
            services.change(pk, stock=services.lock_listed(pk).stock + 1)
            if is_first_attempt and pk == order[0]:
                both_hold_one_lock.wait()

    def increment_in_thread(order: list[int]) -> None:
        try:
            increment(order)
        finally:
            connection.close()

    run_concurrently(partial(increment_in_thread, pks), partial(increment_in_thread, pks[::-1]))
    assert len(attempts) == 3
    assert [Product.objects.get(pk=pk).stock for pk in pks] == [2, 2]


def test_concurrent_posts_with_one_key_create_one_product(caller: Caller) -> None:
    for n in range(5):
        body = product_body(name=f"Onion {n}")
        answers = run_concurrently(*[partial(caller.send, "POST", "/products", body, Idempotency_Key=f"many-{n}")] * 16)
        created = [answer for answer in answers if answer.status == 201]
        assert {answer.status for answer in answers} <= {201, 409}
        assert len({(answer.body, answer.headers["location"]) for answer in created}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in created) == 1
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 409)
        assert Product.objects.filter(name=f"Onion {n}").count() == 1


def post(user: Any, body: dict[str, Any], key: str) -> Any:
    """From a thread of this process. The server would stop waiting for a lock after two seconds."""
    client = Client()
    client.force_login(user)
    try:
        return client.post("/products", body, "application/json", headers={"Idempotency-Key": key})
    finally:
        connection.close()


def test_key_of_a_running_request_is_409_without_waiting(user: Any) -> None:
    farm = make_farm()
    body = product_body(farm=farm.pk, name="Slow Mango")
    with ThreadPoolExecutor(2) as threads:
        with locked(farm):
            first = threads.submit(post, user, body, "slow")
            wait_until(is_waiting_for_a_farm)
            for repeated in (body, body | {"price": "1"}):
                answer = threads.submit(post, user, repeated, "slow").result(timeout=30)  # a lock wait takes 50 s
                assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-conflict")
                assert answer["Retry-After"] == "1"
        assert first.result().status_code == 201
        assert threads.submit(post, user, body, "slow").result()["Idempotent-Replayed"] == "true"
    assert Product.objects.filter(name="Slow Mango").count() == 1


def retry_until_created(user: Any, farm: Farm, name: str) -> Any:
    """Retries while the server has not noticed that the first client is dead."""
    answers: list[Any] = []

    def is_created() -> bool:
        answers.append(killed_posts.post(user.pk, farm.pk, name))
        status: int = answers[-1].status_code
        assert status in {201, 409}, answers[-1].content
        return status == 201

    wait_until(is_created)
    return answers[-1]


def test_process_killed_while_it_waits_frees_its_key(user: Any, database_environment: dict[str, str]) -> None:
    farm = make_farm()
    code = "import django; django.setup(); from dev.testing import killed_posts"
    code += f"; killed_posts.post({user.pk}, {farm.pk}, 'Killed while it waits')"
    with locked(farm):
        process = subprocess.Popen([sys.executable, "-c", code], env=database_environment)
        wait_until(is_waiting_for_a_farm)
        process.kill()
        process.wait()
    answer = retry_until_created(user, farm, "Killed while it waits")
    assert "Idempotent-Replayed" not in answer
    assert Product.objects.filter(name="Killed while it waits").count() == 1


def test_post_killed_before_any_statement_can_be_retried(user: Any, database_environment: dict[str, str]) -> None:
    farm = make_farm()
    command = [sys.executable, "-m", "dev.testing.killed_posts", str(user.pk), str(farm.pk)]
    environment = database_environment | {"ACCESS_LOG": "off"}
    deaths = int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    answers = [retry_until_created(user, farm, f"Killed {number}") for number in range(deaths + 1)]
    is_replayed = ["Idempotent-Replayed" in answer for answer in answers]
    assert is_replayed == sorted(is_replayed), "only a post killed after its commit is replayed"
    assert is_replayed[0] is False
    assert is_replayed[-2:] == [True, True]  # killed after the commit, and not killed
    names = Product.objects.filter(farm=farm).values_list("name", flat=True)
    assert sorted(names) == sorted(f"Killed {number}" for number in range(deaths + 1))
