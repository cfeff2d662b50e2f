"""Sends webhooks as the partner does: signed, and retried by the schedule of Standard Webhooks."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

import urllib3
from standardwebhooks import Webhook

MINUTE, HOUR = 60, 3600
PAUSES_SECONDS = (0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
TIMEOUT_SECONDS = 15
PRICE, STOCK, WITHDRAWN = "product.price_changed", "product.stock_changed", "product.withdrawn"


class Message(NamedTuple):
    id: str
    body: bytes


class Attempt(NamedTuple):
    status: int  # 0: no answer
    outcome: str  # status or code in the answer's body
    retry_after: float  # seconds

    @property
    def is_delivered(self) -> bool:
        return self.status // 100 == HTTPStatus.OK // 100


NO_ANSWER = Attempt(0, "no answer", 0)


def message(event_type: str, data: dict[str, Any]) -> Message:
    happened_at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": event_type, "timestamp": happened_at, "data": data}).encode()
    return Message(f"msg_{uuid.uuid4().hex}", body)


def changes(product_ids: Sequence[int], number: int, types: Sequence[str], seed: int | None = None) -> list[Message]:
    """In the order of their versions. Later calls make newer versions."""
    rng, version = random.Random(seed), time.time_ns()  # noqa: S311  # no secret
    messages = []
    for count in range(number):
        event_type = rng.choice(types)
        data: dict[str, Any] = {"product_id": product_ids[count % len(product_ids)], "version": version + count}
        if event_type == PRICE:
            data["price"] = f"{rng.randint(1, 99999)}.{rng.randint(0, 99):02}"
        if event_type == STOCK:
            data["stock"] = rng.randint(0, 5000)
        messages.append(message(event_type, data))
    return messages


def signature_headers(sent: Message, secret: str) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    now = dt.datetime.now(dt.UTC)
    return {
        "webhook-id": sent.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(sent.id, now, sent.body.decode()),
    }


@dataclass
class Sender:
    """connections: deliveries at the same time. hurry: divides the pauses."""

    url: str
    secret: str
    connections: int = 1
    hurry: float = 1.0

    def __post_init__(self) -> None:
        self.pool = urllib3.PoolManager(maxsize=self.connections, retries=False, timeout=TIMEOUT_SECONDS)

    def attempt(self, sent: Message) -> Attempt:
        headers = {"Content-Type": "application/json", **signature_headers(sent, self.secret)}
        try:
            answer = self.pool.request("POST", self.url, body=sent.body, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError):
            return NO_ANSWER
        retry_after = answer.headers.get("Retry-After", "")
        return Attempt(answer.status, _outcome(answer.data), float(retry_after) if retry_after.isdecimal() else 0.0)

    def deliver(self, sent: Message) -> Iterator[Attempt]:
        """Yields attempts until one is delivered, the endpoint is gone (410), or the schedule ends."""
        retry_after = 0.0
        for pause in PAUSES_SECONDS:
            time.sleep(max(pause / self.hurry, retry_after))
            attempt = self.attempt(sent)
            yield attempt
            if attempt.is_delivered or attempt.status == HTTPStatus.GONE:
                return
            retry_after = attempt.retry_after


def _outcome(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    return str(document.get("code") or document.get("status")) if isinstance(document, dict) else "unreadable"
