"""Bar charts as SVG. They have their own white background, so that they are readable on any page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH, LABEL_WIDTH, VALUE_WIDTH, MARGIN = 760, 150, 80, 24
HEAD_HEIGHT, BAR_HEIGHT, ROW_GAP, FOOT_HEIGHT = 118, 16, 14, 16
LEFT = MARGIN + LABEL_WIDTH
LEGEND_WIDTH = WIDTH - LEFT - MARGIN
COLORS = ("#1a6b3c", "#8cc5a2", "#b8bec5")
STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#24292f}"
    ".title{font-size:17px;font-weight:600}.note{font-size:12px;fill:#57606a}"
)


class Chart(NamedTuple):
    title: str  # with the unit
    notes: tuple[str, str]
    series: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]  # a label, and a value for each series
    has_own_scales: bool = False  # each series has its own unit


def draw(chart: Chart) -> str:
    """Horizontal bars from zero, each with its value. A value that is no number has no bar."""
    row_height = BAR_HEIGHT * len(chart.series) + ROW_GAP
    height = HEAD_HEIGHT + row_height * len(chart.rows) + FOOT_HEIGHT
    parts = [
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="#d0d7de"/>',
        _text(MARGIN, 34, chart.title, ' class="title"'),
        *(_text(MARGIN, 56 + 18 * line, note, ' class="note"') for line, note in enumerate(chart.notes)),
        *_legend(chart.series),
    ]
    scales = _scales(chart)
    for row, (label, values) in enumerate(chart.rows):
        top = HEAD_HEIGHT + row * row_height + ROW_GAP / 2
        middle = top + BAR_HEIGHT * len(values) / 2
        parts.append(_text(LEFT - 12, middle + 4, label, ' text-anchor="end"'))
        for index, (value, scale, color) in enumerate(zip(values, scales, COLORS, strict=False)):
            y, width = top + index * BAR_HEIGHT, _number(value) * scale
            parts += [_bar(LEFT, y, width, color), _text(LEFT + width + 8, y + 12, value)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [f'{head} role="img">', f"<title>{escape(chart.title)}</title>", f"<style>{STYLE}</style>", *parts]
    return "\n".join([*lines, "</svg>", ""])


def _legend(series: Sequence[str]) -> Iterator[str]:
    step = LEGEND_WIDTH / max(len(series), 2)
    for index, (name, color) in enumerate(zip(series, COLORS, strict=False)):
        yield _bar(LEFT + step * index, 88, BAR_HEIGHT, color)
        yield _text(LEFT + step * index + 24, 101, name)


def _scales(chart: Chart) -> list[float]:
    """Pixels for one unit of each series."""
    space = LEGEND_WIDTH - VALUE_WIDTH
    largest = [max(_number(values[index]) for _, values in chart.rows) for index in range(len(chart.series))]
    if not chart.has_own_scales:
        largest = [max(largest)] * len(largest)
    return [space / (most or 1) for most in largest]


def _text(x: float, y: float, content: str, attributes: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{attributes}>{escape(content)}</text>'


def _bar(x: float, y: float, width: float, color: str) -> str:
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{BAR_HEIGHT}" fill="{color}"/>'


def _number(value: str) -> float:
    try:
        return float(value.replace(",", ""))
    except ValueError:
        return 0
