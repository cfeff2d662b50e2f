"""`python -m dev.testing.killed_posts USER FARM`: POST products from processes that die by SIGKILL.

Each process dies before another of its SQL statements, until one survives. Prints how many died.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

import django
from django.conf import settings
from django.db import connection


def post(user_pk: int, farm_pk: int, name: str, *, dies_before: int = -1) -> Any:
    """POST a product of this name, with the name as its Idempotency-Key. dies_before: the number of a statement."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # once Django is set up
    from django.test import Client  # noqa: PLC0415

    from dev.testing.staff import product_body  # noqa: PLC0415

    statement_numbers = itertools.count()

    def execute_or_die(execute: Any, *args: Any) -> Any:
        if next(statement_numbers) == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*args)

    client = Client(SERVER_NAME=settings.ALLOWED_HOSTS[0])
    client.force_login(get_user_model().objects.get(pk=user_pk))
    body = product_body(name=name, farm=farm_pk)
    with connection.execute_wrapper(execute_or_die):
        return client.post("/products", body, "application/json", headers={"Idempotency-Key": name})


def main(user_pk: int, farm_pk: int) -> None:
    for number in itertools.count():
        child = os.fork()  # before this process opens a connection
        if not child:
            post(user_pk, farm_pk, f"Killed {number}", dies_before=number)
            sys.exit()
        exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if exit_code == 0:
            print(number)
            return
        assert exit_code == -signal.SIGKILL, exit_code


if __name__ == "__main__":
    django.setup()
    main(*map(int, sys.argv[1:]))
