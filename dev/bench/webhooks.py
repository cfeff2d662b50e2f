"""make bench-webhooks: first deliveries beside duplicates, in turns, over HTTP; signed before the clock starts."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence

from django.core.management import call_command

from dev.bench.client import Connection
from dev.bench.figures import progress, ratios, save, spread, table
from dev.testing.servers import json_request, running
from integrations.sandbox.sender import PRICE, STOCK, Message, changes, signature_headers
from integrations.webhooks.signing_secrets import generate

TURNS = int(os.environ.get("TURNS") or 5)
PRODUCTS = 500
EVENTS = 1000
COPIES = 5
CALLERS = 16


def signed_request(message: Message, secret: str) -> bytes:
    return json_request("/webhooks/partner", message.body, [*signature_headers(message, secret).items()])


async def deliver(port: int, requests: Sequence[bytes]) -> tuple[float, set[str]]:
    """Deliveries a second, and the distinct values of `status` in the responses."""
    statuses: set[str] = set()

    async def call(remaining: Iterator[bytes]) -> None:
        connection = Connection(port)
        for request in remaining:
            answer = await connection.send(request)
            statuses.add(json.loads(answer.body).get("status"))
        connection.close()

    remaining = iter(requests)
    start = time.monotonic()
    await asyncio.gather(*(call(remaining) for _ in range(CALLERS)))
    return len(requests) / (time.monotonic() - start), statuses


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_products", PRODUCTS, "--reset", verbosity=0)
    secret = generate()
    environment = {**os.environ, "PARTNER_WEBHOOK_SECRETS": secret, "ALLOWED_HOSTS": "localhost"}
    rates: dict[str, list[float]] = {"first deliveries": [], "duplicates": []}
    with running(environment) as server:
        for turn in range(TURNS + 1):  # the first one warms up: threads open their connections
            messages = changes(range(1, PRODUCTS + 1), EVENTS, [PRICE, STOCK])
            requests = [signed_request(message, secret) for message in messages]
            first, first_statuses = asyncio.run(deliver(server.port, requests))
            copies, copy_statuses = asyncio.run(deliver(server.port, requests * COPIES))
            assert (first_statuses, copy_statuses) == ({"processed"}, {"duplicate"}), (first_statuses, copy_statuses)
            progress(f"turn {turn}: {first:.0f} first deliveries and {copies:.0f} duplicates a second")
            if turn:
                rates["first deliveries"].append(first)
                rates["duplicates"].append(copies)
    rows = [(name, spread(turns)) for name, turns in rates.items()]
    rows.append(("ratio, turn by turn", ratios(rates["duplicates"], rates["first deliveries"])))
    print(table(("deliveries", "a second"), rows))
    save("webhooks", f"make bench-webhooks TURNS={TURNS}", ("deliveries", "a second"), rows)
