"""make chaos-webhooks: shuffled copies of many events at full speed, calmly and then while servers are killed."""

from __future__ import annotations

import os

from dev.bench.figures import DASH, save, table
from dev.testing.webhook_chaos import Report, run, summary
from integrations.webhooks.inbox import DUPLICATE

COLUMNS = ("", "at full speed", "disturbed")
ANSWERS = {"processed or superseded": ("200 processed", "200 superseded"), "duplicates": (f"200 {DUPLICATE}",)}
REPEATED = {"409, sent again": "409", "503, sent again": "503", "no answer, sent again": "0"}
DISTURBANCES = {
    "`kill -9` of a worker": "kill_worker",
    "Redis emptied": "empty",
    "Redis killed and restarted": "restart_redis",
    "MySQL killed and restarted": "restart_mysql",
}


def column(events: int, report: Report) -> list[str]:
    """run() has checked that each event had its effect once."""
    answers = report.attempts
    return [
        f"{events:,}",
        *(f"{sum(answers[name] for name in names):,}" for names in ANSWERS.values()),
        *(f"{sum(n for name, n in answers.items() if name.startswith(s)):,}" for s in REPEATED.values()),
        *(str(report.disturbances[name] or DASH) for name in DISTURBANCES.values()),
        f"{report.seconds:.0f}",
    ]


def main(number: int, copies: int) -> None:
    calm = run(os.environ, number, copies, is_disturbed=False)
    print(summary(number, copies, calm), flush=True)
    assert not [answer for answer in calm.attempts if answer.startswith(("5", "0"))]
    assert calm.attempts[f"200 {DUPLICATE}"] == number * (copies - 1)
    disturbed = run(os.environ, number, copies, is_disturbed=True)
    print(summary(number, copies, disturbed), flush=True)
    names = ("events that counted once each", *ANSWERS, *REPEATED, *DISTURBANCES, "seconds")
    rows = list(zip(names, column(number, calm), column(number, disturbed), strict=True))
    print(table(COLUMNS, rows))
    save("chaos_webhooks", f"make chaos-webhooks EVENTS={number} COPIES={copies}", COLUMNS, rows)
