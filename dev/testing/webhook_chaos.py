"""Send many copies of many events, in random order, to a service of four processes while its servers are killed.

Afterwards each event must have had its effect once, and each product must have the values of its newest events.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import redis
from tqdm import tqdm

from dev.testing.mysql import connect, query
from dev.testing.servers import Daemon, Server, own_mysql, own_redis, running
from integrations.sandbox.sender import PRICE, STOCK, Message, Sender, message
from integrations.webhooks import signing_secrets

PROCESSES = 4
PRODUCTS = 100
CALLERS = 32
SECRET = signing_secrets.generate()
RETRY_SECONDS = 0.2
MAX_SECONDS = 600
FLUSH_EVERY, REDIS_EVERY, MYSQL_EVERY = 2, 5, 7  # seconds


class Sent(NamedTuple):
    message: Message
    product_id: int
    type: str
    version: int


class Report(NamedTuple):
    seconds: float
    attempts: Counter[str]  # by status and outcome
    disturbances: Counter[str]


def events(number: int) -> list[Sent]:
    """Each has an effect that no other event and no sample product has."""
    sent = []
    for version in range(1, number + 1):
        product_id, event_type = random.randint(1, PRODUCTS), random.choice([PRICE, STOCK])
        effect = {"price": f"{version}.37"} if event_type == PRICE else {"stock": 10_000_000 + version}
        data = {"product_id": product_id, "version": version, **effect}
        sent.append(Sent(message(event_type, data), product_id, event_type, version))
    return sent


def run(
    environment: Mapping[str, str],
    number: int,
    copies: int,
    *,
    is_disturbed: bool,
    callers: int = CALLERS,
    kill_every: float = 1,
) -> Report:
    """kill_every: seconds between two kills of a worker. Raises AssertionError unless each event has one effect."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        mysql = stack.enter_context(own_mysql(Path(name, "mysql"), environment, PRODUCTS))
        Path(name, "redis").mkdir()
        cache = stack.enter_context(own_redis(Path(name, "redis")))
        own = {"DATABASE_URL": mysql.url, "REDIS_URL": cache.url, "WEB_CONCURRENCY": str(PROCESSES)}
        own |= {"PARTNER_WEBHOOK_SECRETS": SECRET, "ACCESS_LOG": "off", "ALLOWED_HOSTS": "127.0.0.1"}
        server = stack.enter_context(running({**environment, **own}))
        sent = events(number)
        disturber = Disturber(server, mysql, cache, kill_every) if is_disturbed else None
        try:
            began = time.monotonic()
            url = f"http://127.0.0.1:{server.port}/webhooks/partner"
            attempts = deliver(url, sent, copies, callers)
            seconds = time.monotonic() - began
            while disturber and not disturber.has_done_all:
                deliver(url, sent, 1, callers)
        finally:
            if disturber:
                disturber.end()
        check(mysql.url, sent)
        return Report(seconds, attempts, disturber.done if disturber else Counter())


def deliver(url: str, sent: Sequence[Sent], copies: int, callers: int) -> Counter[str]:
    """Send each event until it is accepted. Counts the answers."""
    sender = Sender(url, SECRET, connections=callers)
    deliveries = [one.message for one in sent for _ in range(copies)]
    random.shuffle(deliveries)
    ends = time.monotonic() + MAX_SECONDS
    answers: Counter[str] = Counter()

    def send_until_accepted(delivery: Message) -> list[str]:
        outcomes = []
        while time.monotonic() < ends:
            attempt = sender.attempt(delivery)
            outcomes.append(f"{attempt.status} {attempt.outcome}")
            if attempt.is_delivered:
                return outcomes
            time.sleep(max(RETRY_SECONDS, attempt.retry_after))
        raise AssertionError(f"{delivery.id} was not accepted: {outcomes[-5:]}")

    with ThreadPoolExecutor(callers) as pool, tqdm(total=len(deliveries), unit=" deliveries", disable=None) as bar:
        for outcomes in pool.map(send_until_accepted, deliveries):
            answers.update(outcomes)
            bar.update()
    return answers


class Disturber:
    """Kills workers with SIGKILL, empties Redis, and kills and restarts Redis and MySQL."""

    def __init__(self, server: Server, mysql: Daemon, cache: Daemon, kill_every: float) -> None:
        self._server, self._mysql, self._cache = server, mysql, cache
        self.done: Counter[str] = Counter()
        self._failures: list[Exception] = []
        self._has_ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=each)
            for each in [
                (kill_every, self._kill_worker),
                (FLUSH_EVERY, self._empty),
                (REDIS_EVERY, self._restart_redis),
                (MYSQL_EVERY, self._restart_mysql),
            ]
        ]
        for thread in self._threads:
            thread.start()

    def _every(self, seconds: float, disturb: Callable[[], None]) -> None:
        while not self._has_ended.wait(seconds):
            try:
                disturb()
            except Exception as error:
                self._failures.append(error)
                raise
            self.done[disturb.__name__.removeprefix("_")] += 1

    @property
    def has_done_all(self) -> bool:
        return len(self.done) == len(self._threads) or bool(self._failures)

    def _kill_worker(self) -> None:
        if workers := self._server.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)

    def _empty(self) -> None:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self._cache.url) as client:
            client.flushall()

    def _restart_redis(self) -> None:
        self._cache.kill()
        time.sleep(0.5)
        self._cache.start()

    def _restart_mysql(self) -> None:
        self._mysql.kill()
        self._mysql.start()

    def end(self) -> None:
        """Stop, and leave everything running."""
        self._has_ended.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]


def check(url: str, sent: Sequence[Sent]) -> None:
    with contextlib.closing(connect(url)) as connection:
        ask = partial(query, connection)
        log = ask("SELECT webhook_id, status, attempts, product_id FROM integrations_webhookevent")
        assert {row[0] for row in log} == {one.message.id for one in sent}
        assert len(log) == len(sent)
        assert {row[1:3] for row in log} <= {("processed", 1), ("superseded", 1)}
        # Each effect changes a value, so it increments the version of the product's row.
        effects = Counter(row[3] for row in log if row[1] == "processed")
        products = {row[0]: row[1:] for row in ask("SELECT id, version, price, stock FROM products_product")}
        assert {pk: row[0] - 1 for pk, row in products.items() if row[0] > 1} == effects
        newest: defaultdict[tuple[int, str], int] = defaultdict(int)
        for one in sent:
            newest[one.product_id, one.type] = max(newest[one.product_id, one.type], one.version)
        rows = ask("SELECT product_id, event_type, version FROM integrations_appliedversion")
        assert {(product_id, event_type): version for product_id, event_type, version in rows} == newest
        for (product_id, event_type), version in newest.items():
            _, price, stock = products[product_id]
            assert str(price) == f"{version}.37" if event_type == PRICE else stock == 10_000_000 + version


def summary(number: int, copies: int, report: Report) -> str:
    answers = ", ".join(f"{count:,} x {answer}" for answer, count in report.attempts.most_common())
    done = ", ".join(f"{count} x {name.replace('_', ' ')}" for name, count in report.disturbances.most_common())
    speed = f"{number * copies:,} deliveries in {report.seconds:.0f} s"
    return f"{speed}: {answers}.\n  disturbed by: {done or 'nothing'}; each of {number:,} events had its effect once"
