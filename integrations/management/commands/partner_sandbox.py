"""manage.py partner_sandbox: a stand-in for the OAuth2 provider and the partner; `send` has it send webhooks."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from integrations.sandbox.sender import PRICE, STOCK, WITHDRAWN, Attempt, Message, Sender, changes, message
from integrations.sandbox.server import FAULTS_PATH, QUOTES_PATH, REGISTERED, TOKEN_PATH, Sandbox
from integrations.webhooks.signatures import WEBHOOK_ID
from integrations.webhooks.signing_secrets import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.management.base import CommandParser

FEW = 20
MAX_PORT = 65535
INTERRUPTED = 130  # by Ctrl-C, as shells say


def at_least_one(text: str) -> int:
    return int(matching("[1-9][0-9]{0,8}", "must be a number from 1")(text))


def a_port(text: str) -> int:
    port = int(matching("[0-9]{1,5}", "must be a port")(text))
    if port > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_PORT}")
    return port


def a_secret(text: str) -> str:
    try:
        decode(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be whsec_ and base64") from error
    return text


def matching(pattern: str, otherwise: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(otherwise)
        return text

    return read


class Command(BaseCommand):
    help = "Serves a stand-in for the OAuth2 provider and the partner until it is interrupted. Not for production."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="name or address to listen on, and in its tokens")
        parser.add_argument("--port", type=a_port, default=8001)
        parser.add_argument("--token-lifetime", type=int, default=3600, help="seconds")
        send = parser.add_subparsers(dest="action").add_parser("send", help="signed events, and exit")
        url, secrets = f"http://127.0.0.1:{settings.PORT}/webhooks/partner", settings.PARTNER_WEBHOOK_SECRETS
        send.add_argument(
            "--url", default=url, type=matching(r"https?://[^\s/?#]+/\S*", "must look like https://host/path")
        )
        send.add_argument(
            "--secret",
            default=secrets[0] if secrets else None,
            required=not secrets,
            type=a_secret,
            help="whsec_…, by default the first of PARTNER_WEBHOOK_SECRETS",
        )
        send.add_argument("--type", action="append", help=f"by default {PRICE} and {STOCK}; there is {WITHDRAWN}, too")
        send.add_argument("--data", help="of a single event, as JSON; by default it is made up")
        send.add_argument("--id", type=matching(WEBHOOK_ID, "is none"), help="webhook-id of the first")
        send.add_argument("--products", default="1", help="ids with commas between them, in turn")
        send.add_argument("--events", type=at_least_one, default=1, help="different ones")
        send.add_argument("--copies", type=at_least_one, default=1, help="deliveries of each")
        send.add_argument("--shuffle", action="store_true", help="not in the order of their versions")
        send.add_argument("--at-once", type=at_least_one, default=1, help="deliveries")
        send.add_argument("--hurry", type=at_least_one, default=1, help="divides the pauses: 5 s, 5 min, …")

    def handle(self, *, action: str | None, **given: Any) -> None:
        if action == "send":
            self.send(given)
        else:
            self.serve(given["host"], given["port"], given["token_lifetime"])

    def serve(self, host: str, port: int, token_lifetime: int) -> None:
        try:
            sandbox = Sandbox(host, port, token_lifetime)
        except OSError as error:
            raise CommandError(f"host {host}, port {port}: {error.strerror}") from error
        self.stdout.write(f"tokens: {sandbox.url}{TOKEN_PATH}, for {', '.join(REGISTERED)}")
        self.stdout.write(f"quotes: {sandbox.url}{QUOTES_PATH}; how they fail: PUT {sandbox.url}{FAULTS_PATH}")
        self.stdout.flush()
        try:
            sandbox.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("")
        finally:
            sandbox.server_close()

    def send(self, given: dict[str, Any]) -> None:
        sender = Sender(given["url"], given["secret"], given["at_once"], given["hurry"])
        deliveries = [event for event in _events(given) for _ in range(given["copies"])]
        if given["shuffle"]:
            random.shuffle(deliveries)
        began, ends, attempts = time.monotonic(), Counter[str](), 0
        with ThreadPoolExecutor(given["at_once"]) as pool, tqdm(total=len(deliveries), disable=None) as bar:

            def deliver(event: Message) -> list[Attempt]:
                made = []
                for attempt in sender.deliver(event):
                    made.append(attempt)
                    if len(deliveries) <= FEW:
                        self.stdout.write(f"{event.id}: {_told(attempt)}")
                        self.stdout.flush()
                return made

            try:
                for made in pool.map(deliver, deliveries):
                    ends[_told(made[-1])] += 1
                    attempts += len(made)
                    bar.update()
            except KeyboardInterrupt:
                os._exit(INTERRUPTED)  # Python would wait for threads that may pause for hours
        outcomes = ", ".join(f"{count} x {end}" for end, count in ends.most_common())
        seconds = time.monotonic() - began
        self.stdout.write(f"{len(deliveries)} deliveries in {attempts} attempts and {seconds:.1f} s: {outcomes}")


def _events(given: dict[str, Any]) -> list[Message]:
    types = given["type"] or [PRICE, STOCK]
    try:
        if given["data"]:
            events = [message(types[0], json.loads(given["data"]))]
        else:
            product_ids = [int(product_id) for product_id in given["products"].split(",")]
            events = changes(product_ids, given["events"], types)
    except ValueError as error:
        raise CommandError(f"--data is JSON, --products are ids with commas between them: {error}") from error
    return [events[0]._replace(id=given["id"] or events[0].id), *events[1:]]


def _told(attempt: Attempt) -> str:
    return f"{attempt.status} {attempt.said}" if attempt.status else attempt.said
