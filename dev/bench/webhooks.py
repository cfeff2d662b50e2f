"""make bench-webhooks: first deliveries beside copies of what is done, in turns, over HTTP."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import django

from dev.bench.figures import ratios, spread, table, tell

if TYPE_CHECKING:
    from integrations.partner.sender import Message

TURNS = int(os.environ.get("TURNS") or 5)
PRODUCTS = 500
EVENTS = 1000
COPIES = 5
CALLERS = 16


def main() -> None:
    from django.core.management import call_command  # noqa: PLC0415  # once Django is set up

    from farmlokal.tests.server import running  # noqa: PLC0415
    from integrations.partner.sender import PRICE, SECRET, STOCK, Sender, changes  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("seed_products", PRODUCTS, "--reset", verbosity=0)
    environment = {**os.environ, "PARTNER_WEBHOOK_SECRETS": SECRET, "ALLOWED_HOSTS": "127.0.0.1"}
    found: dict[str, list[float]] = {"first deliveries": [], "copies": []}
    with running(environment) as server, ThreadPoolExecutor(CALLERS) as pool:
        sender = Sender(f"http://127.0.0.1:{server.port}/webhooks/partner", connections=CALLERS)

        def rate(messages: list[Message], expected: str) -> float:
            began = time.monotonic()
            said = {attempt.said for attempt in pool.map(sender.attempt, messages)}
            assert said == {expected}, said
            return len(messages) / (time.monotonic() - began)

        for turn in range(TURNS + 1):  # the first is not counted: threads get their connections
            messages = changes(range(1, PRODUCTS + 1), EVENTS, [PRICE, STOCK])
            first, copies = rate(messages, "processed"), rate(messages * COPIES, "duplicate")
            tell(f"turn {turn}: {first:.0f} and {copies:.0f} a second")
            if turn:
                found["first deliveries"].append(first)
                found["copies"].append(copies)
    rows = [[name, spread(rates)] for name, rates in found.items()]
    print(table(["", "a second"], [*rows, ["ratio", ratios(found["copies"], found["first deliveries"])]]))


if __name__ == "__main__":
    django.setup()
    main()
