"""The partner's side of its webhooks, for the sandbox: events that are signed, and sent again until they count, by the
schedule of Standard Webhooks."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import urllib3
from standardwebhooks import Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MINUTE, HOUR = 60, 3600
PAUSES = (0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
PATIENCE_SECONDS = 15
PRICE, STOCK, WITHDRAWN = "product.price_changed", "product.stock_changed", "product.withdrawn"


class Message(NamedTuple):
    id: str
    body: bytes


class Attempt(NamedTuple):
    status: int  # 0: no answer
    said: str  # the answer's status, or its code
    retry_after: float  # seconds

    @property
    def has_arrived(self) -> bool:
        return self.status // 100 == HTTPStatus.OK // 100


NO_ANSWER = Attempt(0, "no answer", 0)


def message(event_type: str, data: dict[str, Any]) -> Message:
    happened_at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": event_type, "timestamp": happened_at, "data": data}).encode()
    return Message(f"msg_{uuid.uuid4().hex}", body)


def changes(product_ids: Sequence[int], number: int, types: Sequence[str], seed: int | None = None) -> list[Message]:
    """In the order of their versions, which are newer than those of any earlier call."""
    rng, version = random.Random(seed), time.time_ns()  # noqa: S311  # no secret
    found = []
    for count in range(number):
        event_type = rng.choice(types)
        data: dict[str, Any] = {"product_id": product_ids[count % len(product_ids)], "version": version + count}
        if event_type == PRICE:
            data["price"] = f"{rng.randint(1, 99999)}.{rng.randint(0, 99):02}"
        if event_type == STOCK:
            data["stock"] = rng.randint(0, 5000)
        found.append(message(event_type, data))
    return found


def headers_of(sent: Message, secret: str) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": sent.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(sent.id, now, sent.body.decode()),
    }


@dataclass
class Sender:
    """Of as many deliveries at once as there are connections; hurry: by what the pauses are divided."""

    url: str
    secret: str
    connections: int = 1
    hurry: float = 1.0

    def __post_init__(self) -> None:
        self.pool = urllib3.PoolManager(maxsize=self.connections, retries=False, timeout=PATIENCE_SECONDS)

    def attempt(self, sent: Message) -> Attempt:
        try:
            answer = self.pool.request("POST", self.url, body=sent.body, headers=headers_of(sent, self.secret))
        except (urllib3.exceptions.HTTPError, OSError):
            return NO_ANSWER
        retry_after = answer.headers.get("Retry-After", "")
        return Attempt(answer.status, _said(answer.data), float(retry_after) if retry_after.isdecimal() else 0.0)

    def deliver(self, sent: Message) -> Iterator[Attempt]:
        """Its attempts, until one has arrived, or the endpoint is gone (410), or the schedule is at its end."""
        wanted = 0.0
        for pause in PAUSES:
            time.sleep(max(pause / self.hurry, wanted))
            attempt = self.attempt(sent)
            yield attempt
            if attempt.has_arrived or attempt.status == HTTPStatus.GONE:
                return
            wanted = attempt.retry_after


def _said(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    return str(document.get("code") or document.get("status")) if isinstance(document, dict) else "something else"
