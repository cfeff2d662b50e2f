"""README's comparison with other servers, from the figures of the benchmarks."""

from __future__ import annotations

import re
from typing import Any

from dev.bench.figures import read, table
from dev.docs import charts

# What README compares: text, figures, cells that select the row.
RATIO = "FarmLokal / server"
COMPARISONS = [
    ("Fastify 5 + ioredis, 200 hot pages", "hot", ("Fastify", "off")),
    ("Express 5 + ioredis, 200 hot pages", "hot", ("Express", "off")),
    ("plain DRF with Redis cache and throttle, 200 hot pages", "hot", ("stock DRF", "off")),
    ("the same Python server with pages in memory, 200 hot pages", "hot", ("bare ASGI", "off")),
    ("Fastify 5 + ioredis, 2,000 pages by Zipf's law", "zipf", ("Fastify",)),
    ("plain DRF (CursorPagination), uncached pages, newest 400 of a million", "cold", ("stock DRF, newest 400",)),
]


def performance_table() -> str:
    rows = []
    for text, name, selected in COMPARISONS:
        figures = read(name)
        row = _row(figures, selected)
        command = re.sub(r" [A-Z]+=.*", "", figures["command"])
        rows.append((text, _without_false_digits(row[figures["columns"].index(RATIO)]), f"`{command}`"))
    head = ("FarmLokal beside", "FarmLokal's rate divided by the other's: median (from \N{EN DASH} to)", "Command")
    return f"{table(head, rows)}\n\n{_scale()} {_restart()} {_outage()}"


def _row(figures: dict[str, Any], selected: tuple[str, ...]) -> list[str]:
    (row,) = [row for row in figures["rows"] if tuple(row[: len(selected)]) == selected]
    return list(row)


def _without_false_digits(ratios: str) -> str:
    """250.81 (211.25 to 434.51) says no more than 251 (211 to 435)."""
    return re.sub(r"\d{3,}\.\d+", lambda number: f"{float(number[0]):.0f}", ratios)


def _scale() -> str:
    figures = read("scale")
    small, large = (int(name.split()[0].replace(",", "")) // 1_000_000 for name in figures["columns"][1:3])
    ratios = sorted(float(row[-1]) for row in figures["rows"])
    median, least, most = ratios[len(ratios) // 2], ratios[0], ratios[-1]
    return (
        f"Above 1, FarmLokal is faster. From {small} to {large} million products, listings take {median:.2f} "
        f"({least:.2f} \N{EN DASH} {most:.2f}) times as long (`make bench-scale`)."
    )


def _restart() -> str:
    figures = read("restart")
    seconds = [index for index, name in enumerate(figures["columns"]) if name.startswith("second ")]
    ours, fastify = (
        ", ".join(charts.median(_row(figures, (name,))[index]) for index in seconds)
        for name in ("FarmLokal", "Fastify")
    )
    return (
        f"In the {len(seconds)} seconds after a restart it reached {ours} % of its steady rate, "
        f"Fastify {fastify} % (`make bench-restart`)."
    )


def _outage() -> str:
    figures = read("outage")
    columns = [figures["columns"].index(f"p95 {when}, ms") for when in ("before", "meanwhile")]
    ours, fastify = (
        " to ".join(charts.median(_row(figures, ("frozen", name))[index]) for index in columns)
        for name in ("FarmLokal", "Fastify")
    )
    return f"While Redis is frozen, its p95 goes from {ours} ms, and Fastify's from {fastify} ms (`make bench-outage`)."
