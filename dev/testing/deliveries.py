"""Deliveries as the partner makes them. The code here signs them itself, so that the library does not check itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from django.test import Client

from integrations.sandbox.sender import PRICE
from integrations.webhooks import handlers
from products import services
from products.models import Product

SECRET = "whsec_" + base64.b64encode(b"the partner's secret, 32 bytes..").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another one, not configured here").decode()
_numbers = count(1)


def event(product_id: int = 1, event_type: str = PRICE, version: int = 1, **data: Any) -> dict[str, Any]:
    """The body of an event. A price event has a price by default."""
    if event_type == PRICE:
        data = {"price": "47.50"} | data
    data = {"product_id": product_id, "version": version} | data
    return {"type": event_type, "timestamp": "2026-11-23T06:30:00Z", "data": data}


def signature(body: bytes, webhook_id: str, timestamp: str, secret: str = SECRET) -> str:
    content = f"{webhook_id}.{timestamp}.".encode("latin1") + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@dataclass
class Delivery:
    body: bytes | Any = b""
    webhook_id: str = ""
    timestamp: str = ""
    signature: str | None = None  # None: a valid one
    secret: str = SECRET
    content_type: str = "application/json"
    coding: str = ""
    without: str = ""  # leave out this header

    def __post_init__(self) -> None:
        self.body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        self.webhook_id = self.webhook_id or f"msg_{next(_numbers)}_{time.time_ns()}"
        self.timestamp = self.timestamp or str(int(time.time()))

    @property
    def headers(self) -> dict[str, str]:
        right = signature(self.body, self.webhook_id, self.timestamp, self.secret)
        headers = {
            "webhook-id": self.webhook_id,
            "webhook-timestamp": self.timestamp,
            "webhook-signature": right if self.signature is None else self.signature.format(right=right, mac=right[3:]),
        }
        if self.coding:
            headers["content-encoding"] = self.coding
        return {name: value for name, value in headers.items() if name != self.without}

    def send(self, client: Client) -> tuple[int, str]:
        """The HTTP status, and the status or code in the answer's body."""
        # CONTENT_TYPE too, since Django's client omits the type of an empty body.
        media_type: dict[str, Any] = {"content_type": self.content_type, "CONTENT_TYPE": self.content_type}
        answer = client.post("/webhooks/partner", self.body, headers=self.headers, **media_type)
        document = answer.json()
        return answer.status_code, document["code"] if answer.status_code >= 400 else document["status"]


class BrokenHandler:
    """A handler that fails after its effect, the given number of times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, product: Product, data: dict[str, Any]) -> None:
        services.change_locked(product, price=data["price"])
        if self.times:
            self.times -= 1
            raise RuntimeError("the handler is broken")


def break_prices(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    broken = handlers.HANDLERS[PRICE]._replace(apply=BrokenHandler(times))
    monkeypatch.setitem(handlers.HANDLERS, PRICE, broken)
