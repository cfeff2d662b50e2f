"""manage.py partner_sandbox: run a stand-in OAuth2 provider and partner, or `send` webhooks as the partner."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from integrations.sandbox.sender import PRICE, STOCK, WITHDRAWN, Attempt, Message, Sender, changes, message
from integrations.sandbox.server import FAULTS_PATH, QUOTES_PATH, REGISTERED, TOKEN_PATH, Sandbox
from integrations.webhooks.signatures import WEBHOOK_ID
from integrations.webhooks.signing_secrets import decode

MAX_PRINTED = 20  # deliveries whose attempts are printed one by one
MAX_PORT = 65535
INTERRUPTED = 130  # the exit status for Ctrl-C in shells


def positive_number(text: str) -> int:
    return int(matching("[1-9][0-9]{0,8}", "must be 1 or more")(text))


def port_number(text: str) -> int:
    port = int(matching("[0-9]{1,5}", "must be a port number")(text))
    if port > MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_PORT}")
    return port


def signing_secret(text: str) -> str:
    try:
        decode(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be whsec_ followed by base64") from error
    return text


def matching(pattern: str, message: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(message)
        return text

    return read


class Command(BaseCommand):
    help = "Serves a stand-in OAuth2 provider and partner until interrupted. Not for production."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="name or address to listen on; also in the tokens")
        parser.add_argument("--port", type=port_number, default=8001)
        parser.add_argument("--token-lifetime", type=int, default=3600, help="seconds")
        send = parser.add_subparsers(dest="action").add_parser("send", help="send signed events and exit")
        url, secrets = f"http://127.0.0.1:{settings.PORT}/webhooks/partner", settings.PARTNER_WEBHOOK_SECRETS
        send.add_argument(
            "--url", default=url, type=matching(r"https?://[^\s/?#]+/\S*", "must look like https://host/path")
        )
        send.add_argument(
            "--secret",
            default=secrets[0] if secrets else None,
            required=not secrets,
            type=signing_secret,
            help="whsec_…; default: the first of PARTNER_WEBHOOK_SECRETS",
        )
        send.add_argument("--type", action="append", help=f"{PRICE}, {STOCK} or {WITHDRAWN}; default: the first two")
        send.add_argument("--data", help="data of a single event, as JSON; default: random")
        send.add_argument("--id", type=matching(WEBHOOK_ID, "is malformed"), help="webhook-id of the first event")
        send.add_argument("--products", default="1", help="ids, separated by commas")
        send.add_argument("--events", type=positive_number, default=1, help="number of different events")
        send.add_argument("--copies", type=positive_number, default=1, help="deliveries of each")
        send.add_argument("--shuffle", action="store_true", help="send in random order")
        send.add_argument("--at-once", type=positive_number, default=1, help="deliveries at the same time")
        send.add_argument("--hurry", type=positive_number, default=1, help="divides the pauses: 5 s, 5 min, …")

    def handle(self, *, action: str | None, **options: Any) -> None:
        if action == "send":
            self.send(options)
        else:
            self.serve(options["host"], options["port"], options["token_lifetime"])

    def serve(self, host: str, port: int, token_lifetime: int) -> None:
        try:
            sandbox = Sandbox(host, port, token_lifetime)
        except OSError as error:
            raise CommandError(f"host {host}, port {port}: {error.strerror}") from error
        self.stdout.write(f"tokens: {sandbox.url}{TOKEN_PATH}, for {', '.join(REGISTERED)}")
        self.stdout.write(f"quotes: {sandbox.url}{QUOTES_PATH}; faults: PUT {sandbox.url}{FAULTS_PATH}")
        self.stdout.flush()
        try:
            sandbox.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("")
        finally:
            sandbox.server_close()

    def send(self, options: dict[str, Any]) -> None:
        sender = Sender(options["url"], options["secret"], options["at_once"], options["hurry"])
        deliveries = [event for event in _events(options) for _ in range(options["copies"])]
        if options["shuffle"]:
            random.shuffle(deliveries)
        began, outcomes, attempts = time.monotonic(), Counter[str](), 0
        with ThreadPoolExecutor(options["at_once"]) as pool, tqdm(total=len(deliveries), disable=None) as bar:

            def deliver(event: Message) -> list[Attempt]:
                delivery = []
                for attempt in sender.deliver(event):
                    delivery.append(attempt)
                    if len(deliveries) <= MAX_PRINTED:
                        self.stdout.write(f"{event.id}: {_text(attempt)}")
                        self.stdout.flush()
                return delivery

            try:
                for delivery in pool.map(deliver, deliveries):
                    outcomes[_text(delivery[-1])] += 1
                    attempts += len(delivery)
                    bar.update()
            except KeyboardInterrupt:
                os._exit(INTERRUPTED)  # Python would wait for threads, which may pause for hours
        summary = ", ".join(f"{count} x {outcome}" for outcome, count in outcomes.most_common())
        seconds = time.monotonic() - began
        self.stdout.write(f"{len(deliveries)} deliveries in {attempts} attempts and {seconds:.1f} s: {summary}")


def _events(options: dict[str, Any]) -> list[Message]:
    types = options["type"] or [PRICE, STOCK]
    try:
        if options["data"]:
            events = [message(types[0], json.loads(options["data"]))]
        else:
            product_ids = [int(product_id) for product_id in options["products"].split(",")]
            events = changes(product_ids, options["events"], types)
    except ValueError as error:
        raise CommandError(f"--data must be JSON, and --products ids separated by commas: {error}") from error
    return [events[0]._replace(id=options["id"] or events[0].id), *events[1:]]


def _text(attempt: Attempt) -> str:
    return f"{attempt.status} {attempt.outcome}" if attempt.status else attempt.outcome
