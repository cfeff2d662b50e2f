"""make deploys: restarts of two instances behind nginx in turn, then reloads without it, under load.

Ends with status 1 if a request was lost, or an effect is missing or happened twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from django.core.management import call_command

from dev.bench.figures import DASH, save, table
from dev.testing.rolling import Plan, Report, run

PRODUCTS = 2000
EACH = 500  # POSTs, webhooks and quotes
COLUMNS = ("", "restarts behind nginx", "reloads (HUP)")
KINDS = {"GET": "GETs answered", "POST": "POSTs", "webhook": "webhooks", "quote": "quotes"}


def main(gets: int, a_second: int) -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_products", PRODUCTS, "--reset", verbosity=0)
    plan = Plan(gets, EACH, EACH, EACH, a_second)
    reports = [run(os.environ, plan, is_reloaded=is_reloaded) for is_reloaded in (False, True)]
    rows = list(zip(*map(_column, reports), strict=True))
    rows = [(name, restarts, reloads) for (name, restarts), (_, reloads) in rows]
    print(table(COLUMNS, rows))
    faults = [fault for report in reports for fault in _faults(report)]
    if faults:
        sys.exit("\n".join(faults))
    save("deploys", f"make deploys GETS={gets} A_SECOND={a_second}", COLUMNS, rows)


def _column(report: Report) -> list[tuple[str, str]]:
    """Names and values."""
    is_behind_nginx = bool(report.refused or report.cut)
    tally = report.tally
    return [
        *((text, f"{tally.answered[kind]:,}") for kind, text in KINDS.items()),
        ("lost", f"{sum(tally.lost.values()):,}"),
        ("missing or repeated effects", f"{len(report.wrong_effects):,}"),
        ("restarts or reloads", f"{report.turns}"),
        ("refused, and passed on by nginx", f"{report.refused:,}" if is_behind_nginx else DASH),
        ("cut, and repeated by nginx", f"{report.cut:,}" if is_behind_nginx else DASH),
        ("longest wait, s", f"{tally.longest_seconds:.1f}"),
        ("seconds", f"{report.seconds:.0f}"),
    ]


def _faults(report: Report) -> Iterator[str]:
    yield from (f"{count} lost: {kind}" for kind, count in report.tally.lost.most_common())
    yield from report.wrong_effects
