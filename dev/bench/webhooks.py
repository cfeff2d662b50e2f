"""make bench-webhooks: first deliveries beside copies of what is done, in turns, over HTTP; all signed beforehand."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING

import django

from dev.bench.client import Connection
from dev.bench.figures import ratios, spread, table, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integrations.sandbox.sender import Message

TURNS = int(os.environ.get("TURNS") or 5)
PRODUCTS = 500
EVENTS = 1000
COPIES = 5
CALLERS = 16


def request(sent: Message, secret: str) -> bytes:
    from integrations.sandbox.sender import headers_of  # noqa: PLC0415  # once Django is set up

    lines = ["POST /webhooks/partner HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(sent.body)}"]
    lines += [f"{name}: {value}" for name, value in headers_of(sent, secret).items()]
    return "\r\n".join([*lines, "", ""]).encode() + sent.body


async def answers(port: int, requests: Sequence[bytes]) -> tuple[float, set[str]]:
    """How many a second, and what they said."""
    left, said = iter(requests), set()

    async def call(mine: Iterator[bytes]) -> None:
        connection = Connection(port)
        for one in mine:
            answer = await connection.ask(one)
            said.add(json.loads(answer.body).get("status"))
        connection.close()

    began = time.monotonic()
    await asyncio.gather(*(call(left) for _ in range(CALLERS)))
    return len(requests) / (time.monotonic() - began), said


def main() -> None:
    from django.core.management import call_command  # noqa: PLC0415

    from dev.testing.servers import running  # noqa: PLC0415
    from integrations.sandbox.sender import PRICE, STOCK, changes  # noqa: PLC0415
    from integrations.webhooks.signing_secrets import generate  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("seed_products", PRODUCTS, "--reset", verbosity=0)
    secret = generate()
    environment = {**os.environ, "PARTNER_WEBHOOK_SECRETS": secret, "ALLOWED_HOSTS": "127.0.0.1"}
    found: dict[str, list[float]] = {"first deliveries": [], "copies": []}
    with running(environment) as server:
        for turn in range(TURNS + 1):  # the first does not count: threads get their connections
            requests = [request(sent, secret) for sent in changes(range(1, PRODUCTS + 1), EVENTS, [PRICE, STOCK])]
            first, processed = asyncio.run(answers(server.port, requests))
            copies, duplicate = asyncio.run(answers(server.port, requests * COPIES))
            assert (processed, duplicate) == ({"processed"}, {"duplicate"}), (processed, duplicate)
            tell(f"turn {turn}: {first:.0f} and {copies:.0f} a second")
            if turn:
                found["first deliveries"].append(first)
                found["copies"].append(copies)
    rows = [[name, spread(rates)] for name, rates in found.items()]
    print(table(["", "a second"], [*rows, ["ratio", ratios(found["copies"], found["first deliveries"])]]))


if __name__ == "__main__":
    django.setup()
    main()
