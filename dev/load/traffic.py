"""Pauses, tokens and signed events for the users of locustfile.py. The environment may set

- LOAD_TOKEN_URL, LOAD_CLIENT_ID, LOAD_CLIENT_SECRET: the shop's credentials; without them there are no writes;
- LOAD_WEBHOOK_SECRET: a secret of PARTNER_WEBHOOK_SECRETS; without it there are no webhooks;
- LOAD_USER_RATE: tasks a second of each visitor; without it visitors pause like people.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from locust import between, constant_throughput

from dev.load.catalogue import TIMEOUT_SECONDS, Catalogue
from integrations.sandbox.sender import PRICE, STOCK, changes, signature_headers

RENEWED_SECONDS = 60  # before a token expires
STATUS_OK = 200


def _client() -> tuple[str, tuple[str, str]] | None:
    names = ("LOAD_TOKEN_URL", "LOAD_CLIENT_ID", "LOAD_CLIENT_SECRET")
    url, name, secret = (os.environ.get(each, "") for each in names)
    return (url, (name, secret)) if url and name and secret else None


CLIENT = _client()
WEBHOOK_SECRET = os.environ.get("LOAD_WEBHOOK_SECRET") or None


def wait_time(times: int = 1) -> Callable[[Any], float]:
    """The pause between the tasks of a user, that many times as long as a visitor's."""
    rate = os.environ.get("LOAD_USER_RATE")
    if rate is None:
        return between(0.05 * times, 0.5 * times)
    return constant_throughput(float(rate) / times)


def path_of(url: str | None) -> str | None:
    link = urlsplit(url) if url else None
    return f"{link.path}?{link.query}" if link else None


def say(text: str) -> None:
    sys.stdout.write(f"load: {text}\n")


def has_quotes(host: str, catalogue: Catalogue) -> bool:
    """Whether the service has a partner. Also says which parts of the traffic are left out."""
    status = requests.get(host + catalogue.quotes[0], timeout=TIMEOUT_SECONDS).status_code
    if status != STATUS_OK:
        say(f"no delivery quotes, because the first one got status {status}")
    if CLIENT is None:
        say("no writes, because LOAD_TOKEN_URL, LOAD_CLIENT_ID or LOAD_CLIENT_SECRET is not set")
    if WEBHOOK_SECRET is None:
        say("no webhooks, because LOAD_WEBHOOK_SECRET is not set")
    return status == STATUS_OK


class Token:
    """An access token by client credentials, renewed before it expires."""

    def __init__(self) -> None:
        self._text, self._ends = "", 0.0

    def current(self) -> str:
        if time.monotonic() > self._ends and CLIENT:
            url, credentials = CLIENT
            form = {"grant_type": "client_credentials"}
            answer = requests.post(url, form, auth=credentials, timeout=TIMEOUT_SECONDS).json()
            self._text, self._ends = answer["access_token"], time.monotonic() + answer["expires_in"] - RENEWED_SECONDS
        return self._text


def signed_event(products: list[int]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a new price or stock of one of these products."""
    (message,) = changes([random.choice(products)], 1, [PRICE, STOCK])
    headers = {"Content-Type": "application/json", **signature_headers(message, WEBHOOK_SECRET or "")}
    return message.body, headers
