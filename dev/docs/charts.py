"""python -m dev.docs.charts: draw docs/pictures/*.svg from docs/figures/*.json.

The pictures have their own white background, so that they are readable on any page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

FIGURES, PICTURES = Path("docs/figures"), Path("docs/pictures")
WIDTH, LABEL_WIDTH, VALUE_WIDTH, MARGIN = 760, 150, 80, 24
HEAD_HEIGHT, BAR_HEIGHT, ROW_GAP, FOOT_HEIGHT = 118, 16, 14, 16
COLORS = ("#1a6b3c", "#8cc5a2")
STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#24292f}"
    ".title{font-size:17px;font-weight:600}.note{font-size:12px;fill:#57606a}"
)


class Chart(NamedTuple):
    title: str  # with the unit
    notes: tuple[str, str]
    series: tuple[str, str]
    rows: Sequence[tuple[str, Sequence[str]]]  # a label, and a value for each series


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FIGURES / f"{name}.json").read_text())
    return document


def source(document: dict[str, Any]) -> str:
    return f"{document['command']}; {document['machine']}, {document['measured_at']}"


def hot_page() -> Chart:
    """Medians of each server, without and with logs and metrics."""
    document = read("hot")
    medians: dict[str, list[str]] = {}
    for server, _, rate, *_ in sorted(document["rows"], key=lambda row: row[1] != "off"):
        medians.setdefault(server, []).append(rate.split(" ")[0])
    note = "The same 16 KB page, with a rate limiter and Redis for each request. Bare ASGI has neither."
    series = ("logs and metrics off", "logs and metrics on")
    return Chart(
        "Cached page: requests a second (more is better)", (note, source(document)), series, list(medians.items())
    )


def scale() -> Chart:
    document = read("scale")
    _, small, large, _ = (name.removesuffix(", ms") for name in document["columns"])
    note = "Medians of six sorts, of first pages and pages from the middle. No page is cached."
    rows = [(name, (few, many)) for name, few, many, _ in document["rows"]]
    return Chart("Page from MySQL: milliseconds (less is better)", (note, source(document)), (small, large), rows)


def text(x: float, y: float, content: str, attributes: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{attributes}>{escape(content)}</text>'


def bar(x: float, y: float, width: float, color: str) -> str:
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{BAR_HEIGHT}" fill="{color}"/>'


def number(value: str) -> float:
    return float(value.replace(",", ""))


def draw(chart: Chart) -> str:
    """Horizontal bars from zero, each with its value."""
    row_height = BAR_HEIGHT * len(chart.series) + ROW_GAP
    height = HEAD_HEIGHT + row_height * len(chart.rows) + FOOT_HEIGHT
    left = MARGIN + LABEL_WIDTH
    per_unit = (WIDTH - left - VALUE_WIDTH - MARGIN) / max(number(v) for _, values in chart.rows for v in values)
    parts = [
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="#d0d7de"/>',
        text(MARGIN, 34, chart.title, ' class="title"'),
        *(text(MARGIN, 56 + 18 * line, note, ' class="note"') for line, note in enumerate(chart.notes)),
    ]
    for index, (name, color) in enumerate(zip(chart.series, COLORS, strict=True)):
        parts += [bar(left + 220 * index, 88, BAR_HEIGHT, color), text(left + 220 * index + 24, 101, name)]
    for row, (label, values) in enumerate(chart.rows):
        top = HEAD_HEIGHT + row * row_height + ROW_GAP / 2
        middle = top + BAR_HEIGHT * len(values) / 2
        parts.append(text(left - 12, middle + 4, label, ' text-anchor="end"'))
        for index, (value, color) in enumerate(zip(values, COLORS, strict=True)):
            y, width = top + index * BAR_HEIGHT, number(value) * per_unit
            parts += [bar(left, y, width, color), text(left + width + 8, y + 12, value)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [f'{head} role="img">', f"<title>{escape(chart.title)}</title>", f"<style>{STYLE}</style>", *parts]
    return "\n".join([*lines, "</svg>", ""])


def charts() -> dict[Path, str]:
    """The text of each chart by its file."""
    return {PICTURES / "hot-page.svg": draw(hot_page()), PICTURES / "scale.svg": draw(scale())}


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for file, svg in charts().items():
        file.write_text(svg)


if __name__ == "__main__":
    main()
