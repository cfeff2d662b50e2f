"""make chaos-webhooks: shuffled copies of many events at full speed, calmly and then while servers are killed."""

from __future__ import annotations

import os

from dev.testing.webhook_chaos import run, summary
from integrations.webhooks.inbox import DUPLICATE


def main(number: int, copies: int) -> None:
    calm = run(os.environ, number, copies, is_disturbed=False)
    print(summary(number, copies, calm), flush=True)
    assert not [answer for answer in calm.attempts if answer.startswith(("5", "0"))]
    assert calm.attempts[f"200 {DUPLICATE}"] == number * (copies - 1)
    print(summary(number, copies, run(os.environ, number, copies, is_disturbed=True)), flush=True)
