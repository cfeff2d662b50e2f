"""make chaos-webhooks: events by the thousand, each many times and shuffled, at full speed; then once more while what
the service consists of is killed."""

from __future__ import annotations

import os
import sys

import django


def main(number: int, copies: int) -> None:
    from dev.testing.webhook_chaos import run, told  # noqa: PLC0415  # once Django is set up
    from integrations.webhooks.inbox import DUPLICATE  # noqa: PLC0415

    calm = run(os.environ, number, copies, is_disturbed=False)
    print(told(number, copies, calm), flush=True)
    assert not [answer for answer in calm.attempts if answer.startswith(("5", "0"))]
    assert calm.attempts[f"200 {DUPLICATE}"] == number * (copies - 1)
    print(told(number, copies, run(os.environ, number, copies, is_disturbed=True)), flush=True)


if __name__ == "__main__":
    django.setup()
    main(*map(int, sys.argv[1:]))
