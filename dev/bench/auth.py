"""make bench-auth: cost of a bearer token that this process has seen before, and of a new one."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from django.conf import settings
from django.core.management import call_command

from accounts import authentication, clients
from accounts.models import ApiClient
from dev.bench.figures import progress, save, spread, table
from dev.testing.issuer import Issuer, issuer
from farmlokal.observability import request_costs

TURNS = int(os.environ.get("TURNS") or 7)
CALLS = 2000
NEW_TOKENS = 200


class Cost(NamedTuple):
    microseconds: float  # of one call
    operations: int  # SQL statements and Redis commands of all calls


def measure(headers: list[str]) -> Cost:
    request_costs.current.clear()
    start = time.perf_counter()
    for header in headers:
        authentication.caller_of(header)
    seconds = time.perf_counter() - start
    costs = request_costs.current
    return Cost(seconds / len(headers) * 1e6, costs.commands + costs.statements)


def new_headers(provider: Issuer, key_id: str, turn: int) -> list[str]:
    return [f"Bearer {provider.token(key_id, jti=f'{turn}-{number}')}" for number in range(NEW_TOKENS)]


def main() -> None:
    call_command("migrate", verbosity=0)
    ApiClient.objects.get_or_create(client_id="shop", name="A shop")
    clients.CACHE_SECONDS = 600  # measure the token alone: never reload the client
    costs: dict[str, list[Cost]] = {"seen before": [], "RS256, new": [], "ES256, new": []}
    with issuer() as provider:
        for name, value in provider.settings.items():
            setattr(settings, name, value)
        for turn in range(TURNS):
            rsa_headers, ec_headers = new_headers(provider, "rsa-1", turn), new_headers(provider, "ec-1", turn)
            authentication.caller_of(f"Bearer {provider.token()}")  # loads the keys
            costs["RS256, new"].append(measure(rsa_headers))
            costs["ES256, new"].append(measure(ec_headers))
            costs["seen before"].append(measure(rsa_headers[:1] * CALLS))
            progress(f"turn {turn + 1} of {TURNS}")
    rows = [
        (name, spread([cost.microseconds for cost in turns], ".1f"), str(max(cost.operations for cost in turns)))
        for name, turns in costs.items()
    ]
    columns = ("token", "microseconds a call", "SQL statements and Redis commands")
    print(table(columns, rows))
    save("auth", f"make bench-auth TURNS={TURNS}", columns, rows)
