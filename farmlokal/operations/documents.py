"""What GET /admin/operations/data answers. It has no secret: no token, no password, no URL of a server."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from accounts.models import ApiClient
from farmlokal.health import readiness
from farmlokal.operations.charts import charts, labels, total
from farmlokal.operations.parts import moment, parts
from farmlokal.traffic.series import read

MAX_SHOWN_CLIENTS = 10
CLIENT_POLICY = "client"
METRICS_ARE_OFF = "METRICS is off, so nothing is counted and there are no charts."
REDIS_IS_AWAY = "Redis does not answer, so there are no charts. The service works without it, but slower."


def document(hours: int) -> Mapping[str, Any]:
    """hours: 1 or 24. Without metrics or Redis, `note` says why there are no charts."""
    traffic = read(hours) if settings.METRICS else None
    shown = {
        "at": moment(time.time()),
        "note": "",
        "parts": [part._asdict() for part in parts(readiness()["checks"])],
        "charts": {},
        "clients": [],
    }
    if traffic is None:
        return shown | {"note": REDIS_IS_AWAY if settings.METRICS else METRICS_ARE_OFF}
    return shown | {
        "labels": labels(traffic),
        "charts": charts(traffic),
        "totals": total(traffic),
        "clients": _limited(traffic.clients),
    }


def _limited(refusals: Counter[str]) -> list[dict[str, Any]]:
    """The most limited clients. Redis knows API clients by the keys of their rows."""
    rows: list[dict[str, Any]] = []
    for name, number in refusals.most_common(MAX_SHOWN_CLIENTS):
        policy, _, client = name.partition(" ")
        rows.append({"policy": policy, "client": client, "refusals": number})
    callers = {str(row["client"]): row for row in rows if row["policy"] == CLIENT_POLICY}
    for key, name in ApiClient.objects.filter(pk__in=callers).values_list("pk", "name") if callers else ():
        callers[str(key)]["client"] = name
    return rows
