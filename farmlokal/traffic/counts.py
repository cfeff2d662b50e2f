"""What this process has counted for the operations page: a few sums of its metrics, by the names of their fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from farmlokal import routes
from farmlokal.observability import metrics
from farmlokal.routes import Pool

PROBES = {route.template for route in routes.ROUTES if route.is_probe}
CATALOGUE = {route.template for route in routes.ROUTES if route.is_rate_limited and route.pool is Pool.API}

Labels = Mapping[str, str]


def _requests(labels: Labels) -> str:
    return "" if labels["route"] in PROBES else f"requests:{labels['status'][0]}xx"


def _seconds(labels: Labels) -> str:
    """Cumulative: the field of a bound counts all requests that took no longer."""
    return f"seconds:{labels['le']}" if labels["route"] in CATALOGUE else ""


FIELDS: Mapping[str, Callable[[Labels], str]] = {
    "farmlokal_requests_total": _requests,
    "farmlokal_request_seconds_bucket": _seconds,
    "farmlokal_page_cache_total": lambda labels: f"pages:{labels['result']}",
    "farmlokal_rate_limited_total": lambda labels: f"limited:{labels['policy']}",
    "farmlokal_token_refreshes_total": lambda labels: f"token:{labels['outcome']}",
    "farmlokal_webhooks_total": lambda labels: f"webhooks:{labels['status']}",
}


def totals() -> Counter[str]:
    """Since the start of the process."""
    counts = Counter[str]()
    for sample in metrics.samples():
        if sample.name in FIELDS and (field := FIELDS[sample.name](sample.labels)):
            counts[field] += int(sample.value)
    return counts
