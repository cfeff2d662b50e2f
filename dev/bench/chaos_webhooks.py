"""make chaos-webhooks: events by the thousand, each many times and shuffled, at full speed; then once more while what
the service consists of is killed."""

from __future__ import annotations

import os
import sys

import django


def main(number: int, copies: int) -> None:
    from integrations.tests.chaos import run, told  # noqa: PLC0415  # once Django is set up

    for is_disturbed in (False, True):
        print(told(number, copies, run(os.environ, number, copies, is_disturbed=is_disturbed)), flush=True)


if __name__ == "__main__":
    django.setup()
    main(*map(int, sys.argv[1:]))
