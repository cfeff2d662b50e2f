"""The charts as data: titles, a sentence for each, and a value a step for each line."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from django.utils import timezone
from django.utils.formats import date_format

from farmlokal.page_cache.pages import Result
from farmlokal.traffic.series import Traffic, quantile

Counts = Counter[str]
MINUTE = 60
RESULTS = get_args(Result)


class Chart(NamedTuple):
    """lines: what one step shows, by name. A rate is a count a minute."""

    title: str
    unit: str
    lines: Mapping[str, Callable[[Counts], float | None]]
    summary: Callable[[Counts], str]
    is_rate: bool = False


def _sum(*fields: str) -> Callable[[Counts], float]:
    return lambda counts: sum(counts[field] for field in fields)


def _all(counts: Counts, kind: str) -> int:
    return sum(count for field, count in counts.items() if field.startswith(f"{kind}:"))


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2)


def _share(field: str) -> Callable[[Counts], float | None]:
    """Of all pages, in percent; None without pages."""
    return lambda counts: _percent(counts[field], pages) if (pages := _all(counts, "pages")) else None


def _milliseconds(share: float) -> Callable[[Counts], float | None]:
    def value(counts: Counts) -> float | None:
        seconds = quantile(counts, share)
        return None if seconds is None else round(seconds * 1000, 2)

    return value


def _requests_text(counts: Counts) -> str:
    number, refused, failed = _all(counts, "requests"), counts["requests:4xx"], counts["requests:5xx"]
    if not number:
        return "no requests"
    return (
        f"{number:,} requests, of which {refused:,} ({_percent(refused, number):g} %) were refused with 4xx, "
        f"and {failed:,} ({_percent(failed, number):g} %) failed with 5xx"
    )


def _pages_text(counts: Counts) -> str:
    pages = _all(counts, "pages")
    if not pages:
        return "no pages"
    shares = (f"{_percent(counts[f'pages:{result}'], pages):g} % {result}" for result in RESULTS)
    return f"{pages:,} pages: {', '.join(shares)}"


def _seconds_text(counts: Counts) -> str:
    middle, most = _milliseconds(0.5)(counts), _milliseconds(0.95)(counts)
    if middle is None:
        return "no requests of the catalogue"
    return f"half of the catalogue's requests took up to {middle:g} ms, and 95 % up to {most:g} ms"


def _outcomes(kind: str, noun: str) -> Callable[[Counts], str]:
    def text(counts: Counts) -> str:
        found = {field.partition(":")[2]: count for field, count in counts.items() if field.startswith(f"{kind}:")}
        parts = ", ".join(f"{count:,} {name}" for name, count in sorted(found.items()))
        return f"{sum(found.values()):,} {noun}: {parts}" if found else f"no {noun}"

    return text


CHARTS: Mapping[str, Chart] = {
    "requests": Chart(
        "Requests",
        "a minute",
        {
            "all": lambda counts: _all(counts, "requests"),
            "4xx": _sum("requests:4xx"),
            "5xx": _sum("requests:5xx"),
        },
        _requests_text,
        is_rate=True,
    ),
    "pages": Chart(
        "Page cache",
        "%",
        {result: _share(f"pages:{result}") for result in RESULTS},
        _pages_text,
    ),
    "seconds": Chart("Time to answer", "ms", {"p50": _milliseconds(0.5), "p95": _milliseconds(0.95)}, _seconds_text),
    "limited": Chart(
        "Refused by rate limits",
        "a minute",
        {
            "anonymous": _sum("limited:anonymous"),
            "API clients": _sum("limited:client"),
            "bad tokens": _sum("limited:tokens"),
        },
        _outcomes("limited", "refusals"),
        is_rate=True,
    ),
    "webhooks": Chart(
        "Webhooks",
        "a minute",
        {
            "processed": _sum("webhooks:processed"),
            "without effect": _sum("webhooks:superseded", "webhooks:ignored", "webhooks:duplicate"),
            "failed": _sum("webhooks:failed", "webhooks:dead"),
            "in progress": _sum("webhooks:in-progress"),
        },
        _outcomes("webhooks", "deliveries"),
        is_rate=True,
    ),
}


def total(traffic: Traffic) -> Counts:
    """With the step that is not over yet."""
    return sum((step.counts for step in traffic.steps if step.counts), Counter())


def labels(traffic: Traffic) -> Sequence[str]:
    """The beginnings of the steps that are over, in the time zone of staff."""
    return [_clock(step.begins, "H:i") for step in traffic.steps[:-1]]


def charts(traffic: Traffic) -> Mapping[str, Any]:
    since, counts = _clock(traffic.steps[0].begins, "j M H:i"), total(traffic)
    has_data = any(step.counts for step in traffic.steps)
    return {
        name: {
            "title": chart.title,
            "unit": chart.unit,
            "summary": f"Since {since}: {chart.summary(counts)}." if has_data else "No process has reported yet.",
            "lines": [{"name": line, "values": _values(chart, value, traffic)} for line, value in chart.lines.items()],
        }
        for name, chart in CHARTS.items()
    }


def _values(chart: Chart, value: Callable[[Counts], float | None], traffic: Traffic) -> list[float | None]:
    """None where no process has reported, or there is nothing to show."""
    minutes = traffic.seconds / MINUTE if chart.is_rate else 1
    values = [value(step.counts) if step.counts else None for step in traffic.steps[:-1]]
    return [None if number is None else round(number / minutes, 2) for number in values]


def _clock(seconds: int, form: str) -> str:
    return date_format(timezone.localtime(dt.datetime.fromtimestamp(seconds, dt.UTC)), form)
