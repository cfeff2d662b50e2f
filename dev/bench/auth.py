"""What a bearer token costs: seen before, and checked for the first time. In one process, in turns."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import django

from dev.bench.figures import spread, table, tell

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = int(os.environ.get("TURNS") or 7)
CALLS = 2000


def main() -> None:
    from django.conf import settings  # noqa: PLC0415  # once Django is set up
    from django.core.management import call_command  # noqa: PLC0415

    from accounts import authentication, clients  # noqa: PLC0415
    from accounts.models import ApiClient  # noqa: PLC0415
    from dev.testing.issuer import issuer  # noqa: PLC0415
    from farmlokal.observability import request_costs  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    ApiClient.objects.get_or_create(client_id="shop", name="A shop")
    clients.REMEMBERED_SECONDS = 600  # what is measured is the token, not five seconds of a client
    with issuer() as provider:
        for name, value in provider.settings.items():
            setattr(settings, name, value)

        def measured(call: Callable[[str], object], headers: list[str]) -> tuple[float, int]:
            """Microseconds of a call, and what all calls asked of Redis and MySQL."""
            request_costs.current.clear()
            start = time.perf_counter()
            for header in headers:
                call(header)
            seconds = time.perf_counter() - start
            return seconds / len(headers) * 1e6, request_costs.current.commands + request_costs.current.statements

        found: dict[str, list[tuple[float, int]]] = {"seen before": [], "RS256, new": [], "ES256, new": []}
        for turn in range(TURNS):
            new = {
                kind: [f"Bearer {provider.token(kind, jti=f'{turn}-{n}')}" for n in range(200)]
                for kind in provider.private
            }
            authentication.caller_of(f"Bearer {provider.token()}")
            found["RS256, new"].append(measured(authentication.caller_of, new["rsa-1"]))
            found["ES256, new"].append(measured(authentication.caller_of, new["ec-1"]))
            found["seen before"].append(measured(authentication.caller_of, new["rsa-1"][:1] * CALLS))
            tell(f"turn {turn + 1} of {TURNS}")
    rows = [
        (name, spread([micros for micros, _ in turns], ".1f"), str(max(asked for _, asked in turns)))
        for name, turns in found.items()
    ]
    print(table(("token", "microseconds a call", "commands and statements"), rows))


if __name__ == "__main__":
    django.setup()
    main()
