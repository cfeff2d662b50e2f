"""What the callers of the steady load do in each turn."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

from dev.bench.client import Connection
from dev.chaos.samples import LOST, OUTDATED, Kind, Sample
from dev.testing.servers import Answer, json_request
from integrations.sandbox.sender import PRICE, Message, message, signature_headers

HOT = ("/products", "/products?category=fruits", "/products?sort=price", "/categories")
KNOWN_PINCODES = 4
NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Request = tuple[str, Mapping[str, str]]  # target and headers


class Plan(NamedTuple):
    """limited: a token of a client that is always over its limit; tokens: of another. farm: for new products.

    changed: a product for each caller that sends webhooks. quoted: products of the quotes.
    """

    port: int
    name: str  # begins the names of new products
    secret: str  # of webhooks
    tokens: list[str]
    limited: str
    farm: int
    changed: list[int]
    quoted: list[int]


class Caller(ABC):
    """interval: seconds from one turn to the next."""

    def __init__(self, number: int, port: int, interval: float) -> None:
        self.number = number
        self.interval = interval
        self._connection = Connection(port)
        self._port = 0  # our end of the connection

    @abstractmethod
    async def turn(self, number: int, due: float) -> list[Sample]:
        """number: of the turn."""

    async def get(self, target: str, headers: Mapping[str, str] = NO_HEADERS) -> Answer | None:
        lines = [f"GET {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return await self._send("\r\n".join([*lines, "", ""]).encode())

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer | None:
        return await self._send(json_request(target, body, list(headers.items())))

    async def _send(self, request: bytes) -> Answer | None:
        """None without an answer."""
        try:
            answer = await self._connection.send(request)
        except (OSError, EOFError):  # TimeoutError is an OSError
            self._note_port()
            self._connection.close()
            return None
        self._note_port()
        if answer.headers.get("connection") == "close":
            self._connection.close()
        return answer

    def _note_port(self) -> None:
        if self._connection.streams:
            self._port = self._connection.streams[1].get_extra_info("sockname")[1]

    def sample(self, kind: Kind, due: float, answer: Answer | None, text: str = "", name: str = "") -> Sample:
        """text: of the answer, if not its status and the problem's code or X-Cache."""
        text = text or (_text(answer) if answer else LOST)
        has_retry_after = bool(answer and "retry-after" in answer.headers)
        return Sample(kind, self.number, due, time.monotonic() - due, text, self._port, name, has_retry_after)


def _text(answer: Answer) -> str:
    if answer.status < 400:
        return f"{answer.status} {answer.headers.get('x-cache', '')}".strip()
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return f"{answer.status} {answer.json['code'] if is_problem else answer.body.decode()}"


class Reader(Caller):
    """request: makes the request of a turn from its number."""

    def __init__(self, number: int, port: int, interval: float, kind: Kind, request: Callable[[int], Request]) -> None:
        super().__init__(number, port, interval)
        self._kind = kind
        self._request = request

    async def turn(self, number: int, due: float) -> list[Sample]:
        return [self.sample(self._kind, due, await self.get(*self._request(number)))]


class Writer(Caller):
    """Creates a product, with the same Idempotency-Key until it succeeds."""

    def __init__(self, number: int, plan: Plan) -> None:
        super().__init__(number, plan.port, interval=0.8)
        self._plan = plan
        self._written = 0

    async def turn(self, number: int, due: float) -> list[Sample]:
        name = f"{self._plan.name} {self.number}-{self._written}"
        body = {"name": name, "commodity": "mango", "grade": "A", "price": "120.50", "farm": self._plan.farm}
        headers = {"Idempotency-Key": name, **bearer(self._plan.tokens[0])}
        answer = await self.post("/products", json.dumps(body).encode(), headers)
        self._written += bool(answer and answer.status == 201)
        return [self.sample(Kind.WRITE, due, answer, name=name)]


class Partner(Caller):
    """Changes the price of a product, by the same event until it is accepted."""

    def __init__(self, number: int, plan: Plan, product_id: int) -> None:
        super().__init__(number, plan.port, interval=0.8)
        self.product_id = product_id
        self.accepted = 0  # version of the last event
        self._secret = plan.secret
        self._message = self._next_message()

    def _next_message(self) -> Message:
        version = self.accepted + 1
        data = {"product_id": self.product_id, "price": price_of(version), "version": version}
        return message(PRICE, data)

    async def turn(self, number: int, due: float) -> list[Sample]:
        sent = self._message
        answer = await self.post("/webhooks/partner", sent.body, signature_headers(sent, self._secret))
        text = ""
        if answer and answer.status == 200:
            text = f"200 {answer.json['status']}"
            self.accepted += 1
            self._message = self._next_message()
        return [self.sample(Kind.WEBHOOK, due, answer, text, sent.id)]


class Watcher(Caller):
    """Reads the page of the product that a partner changes."""

    def __init__(self, number: int, port: int, partner: Partner) -> None:
        super().__init__(number, port, interval=0.2)
        self._partner = partner

    async def turn(self, number: int, due: float) -> list[Sample]:
        accepted = self._partner.accepted
        page = await self.get(f"/products/{self._partner.product_id}")
        is_outdated = accepted and page and page.status == 200 and float(page.json["price"]) < float(price_of(accepted))
        return [self.sample(Kind.CHANGED, due, page, OUTDATED if is_outdated else "")]


def price_of(version: int) -> str:
    return f"{version}.37"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def callers(plan: Plan) -> list[Caller]:
    """About 50 requests a second."""
    numbers, new = count(), count(1)
    partners = [Partner(next(numbers), plan, product_id) for product_id in plan.changed]

    def quote(pincode: int) -> Request:
        product_id = plan.quoted[pincode % len(plan.quoted)]
        return f"/products/{product_id}/delivery-quote?pincode={pincode}", NO_HEADERS

    def readers(how_many: int, interval: float, kind: Kind, request: Callable[[int], Request]) -> list[Caller]:
        return [Reader(next(numbers), plan.port, interval, kind, request) for _ in range(how_many)]

    return [
        *readers(4, 0.2, Kind.HOT, lambda turn: (HOT[turn % len(HOT)], NO_HEADERS)),
        *readers(2, 0.4, Kind.NEW, lambda _: (f"/products?q=organic&price_max={10_000 + next(new)}", NO_HEADERS)),
        *readers(2, 0.4, Kind.BEARER, lambda turn: (HOT[0], bearer(plan.tokens[turn % len(plan.tokens)]))),
        *readers(1, 0.4, Kind.LIMITED, lambda _: (HOT[0], bearer(plan.limited))),
        *readers(2, 0.5, Kind.QUOTE, lambda _: quote(100_000 + next(new))),
        *readers(1, 0.4, Kind.LAST_QUOTE, lambda turn: quote(560_001 + turn % KNOWN_PINCODES)),
        *readers(1, 0.4, Kind.LIVEZ, lambda _: ("/livez", NO_HEADERS)),
        *(Writer(next(numbers), plan) for _ in range(2)),
        *partners,
        *(Watcher(next(numbers), plan.port, partner) for partner in partners),
    ]
