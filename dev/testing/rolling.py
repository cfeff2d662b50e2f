"""Two instances that are restarted or reloaded in turn under load.

Afterwards each POST must have had its effect once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dev.testing.nginx import in_front_of
from dev.testing.partner import partner, settings_for
from dev.testing.servers import Server, free_port, json_request, running
from dev.testing.staff import make_staff, product_body, session_headers
from dev.testing.unbroken import TARGETS, Request, Tally, get, send_all
from dev.testing.waiting import wait_until
from integrations.models import WebhookEvent
from integrations.sandbox.faults import Faults
from integrations.sandbox.sender import STOCK, message, signature_headers
from integrations.webhooks import signing_secrets
from products.models import Farm, Product

CALLERS = 32
QUOTE_MILLISECONDS = 200  # of the partner, so that quotes are in flight
SECRET = signing_secrets.generate()
SETTINGS = {
    "PARTNER_WEBHOOK_SECRETS": SECRET,
    "PARTNER_DEADLINE_SECONDS": "10",  # a busy machine must not count as a lost request
    "RATE_LIMIT_ANONYMOUS": "1000000/1",
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "ACCESS_LOG": "off",
}


class Plan(NamedTuple):
    """How many requests of each kind, and how many of all a second."""

    gets: int
    posts: int
    webhooks: int
    quotes: int
    a_second: float


class Report(NamedTuple):
    tally: Tally
    turns: int  # restarts or reloads
    refused: int  # connections that one instance refused, so nginx used the other
    cut: int  # requests that got no response; nginx has repeated the idempotent ones
    seconds: float
    wrong_effects: list[str]


class Instance:
    """The service on a port of its own."""

    def __init__(self, environment: Mapping[str, str], stack: contextlib.ExitStack) -> None:
        self.port = free_port()
        self._environment = environment
        self._running = stack.enter_context(contextlib.ExitStack())
        self._start()

    def _start(self) -> None:
        self._server: Server = self._running.enter_context(running(self._environment, PORT=str(self.port)))
        self._reloads = 0

    def restart(self) -> None:
        """End it by SIGTERM, and start it once it has ended."""
        self._running.close()
        self._start()

    def reload(self) -> None:
        """Replace its workers by SIGHUP."""
        self._reloads += 1
        workers = int(self._environment.get("WEB_CONCURRENCY", "2"))
        self._server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self._server.has_logged("Worker exiting", workers * self._reloads))


def run(environment: Mapping[str, str], plan: Plan, *, is_reloaded: bool) -> Report:
    """Restart two instances in turn behind nginx, or reload them without it. The database must have products."""
    with tempfile.TemporaryDirectory() as folder, partner() as sandbox, contextlib.ExitStack() as stack:
        sandbox.faults = Faults(latency_ms=QUOTE_MILLISECONDS)
        settings = {**environment, **SETTINGS, **settings_for(sandbox)}
        instances = [Instance(settings, stack) for _ in range(2)]
        effects = Effects(plan)
        ports, log = [instance.port for instance in instances], Path(os.devnull)
        if not is_reloaded:
            nginx = stack.enter_context(in_front_of(ports, Path(folder)))
            ports, log = [nginx.port], nginx.log
        turn = Instance.reload if is_reloaded else Instance.restart
        begun = time.monotonic()
        tally, turns = asyncio.run(_load(ports, effects.requests(), plan, turn, instances))
        seconds, lines = time.monotonic() - begun, log.read_text().splitlines()
        refused = sum("Connection refused" in line for line in lines)
        return Report(tally, turns, refused, len(lines) - refused, seconds, effects.wrong())


async def _load(
    ports: list[int],
    requests: Iterator[Request],
    plan: Plan,
    turn: Callable[[Instance], None],
    instances: list[Instance],
) -> tuple[Tally, int]:
    """Return the tally, and how many restarts or reloads began before the load ended."""
    callers, a_second = CALLERS // len(ports), plan.a_second / len(ports)
    loads = asyncio.gather(*(send_all(port, requests, callers=callers, a_second=a_second) for port in ports))
    turns = 0
    for instance in itertools.cycle(instances):
        if loads.done():
            break
        await asyncio.to_thread(turn, instance)
        turns += 1
    tally = Tally()
    for part in await loads:
        tally.add(part)
    return tally, turns


class Effects:
    """The requests of a plan, and a check of their effects in the database."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._name = f"Deploy {uuid.uuid4().hex[:8]}"
        self._session = [*session_headers(make_staff(name=self._name)).items()]
        self._farms = list(Farm.objects.values_list("pk", flat=True))  # POSTs for one farm wait for each other
        self._products: list[int] = list(
            Product.objects.filter(is_active=True).values_list("pk", flat=True)[: plan.webhooks]
        )
        assert len(self._products) == plan.webhooks, "each webhook needs a product of its own"
        self._versions = self._product_versions()
        self._stock = random.randrange(1_000_000)  # another run's values would be no change
        self._webhook_ids: list[str] = []

    def _product_versions(self) -> dict[int, int]:
        return dict(Product.objects.filter(pk__in=self._products).values_list("pk", "version"))

    def requests(self) -> Iterator[Request]:
        """All kinds in random order, generated one by one: the signature of a webhook is valid for minutes only."""
        makers = {"GET": self._get, "POST": self._post, "webhook": self._webhook, "quote": self._quote}
        counts = zip(makers, self._plan[:4], strict=True)
        order = [(kind, number) for kind, count in counts for number in range(count)]
        random.shuffle(order)
        return (Request(kind, makers[kind](number)) for kind, number in order)

    def _get(self, number: int) -> bytes:
        pages = [*TARGETS, f"/products/{self._product(number)}"]
        return get(pages[number % len(pages)]).content

    def _quote(self, number: int) -> bytes:
        return get(f"/products/{self._product(number)}/delivery-quote?pincode=560001").content

    def _product(self, number: int) -> int:
        return self._products[number % len(self._products)]

    def _post(self, number: int) -> bytes:
        name = f"{self._name} {number}"
        body = json.dumps(product_body(name=name, farm=self._farms[number % len(self._farms)])).encode()
        return json_request("/products", body, [*self._session, ("Idempotency-Key", name)])

    def _webhook(self, number: int) -> bytes:
        data = {"product_id": self._products[number], "version": time.time_ns(), "stock": self._stock + number}
        event = message(STOCK, data)
        self._webhook_ids.append(event.id)
        return json_request("/webhooks/partner", event.body, [*signature_headers(event, SECRET).items()])

    def wrong(self) -> list[str]:
        """Effects that are missing, or that happened twice."""
        created = Counter(Product.objects.filter(name__startswith=f"{self._name} ").values_list("name", flat=True))
        names = [f"{self._name} {number}" for number in range(self._plan.posts)]
        wrong = [f"{created[name]} products {name}" for name in names if created[name] != 1]
        events = WebhookEvent.objects.filter(webhook_id__in=self._webhook_ids).values_list("status", "attempts")
        outcomes = Counter(events)
        if outcomes != {(WebhookEvent.Status.PROCESSED, 1): self._plan.webhooks}:
            wrong.append(f"webhooks by status and attempts: {dict(outcomes)}")
        versions = self._product_versions()
        changes = [(pk, versions[pk] - before) for pk, before in self._versions.items()]
        return wrong + [f"{count} changes of product {pk}" for pk, count in changes if count != 1]
