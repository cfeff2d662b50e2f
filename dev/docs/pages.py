"""The documentation as data: pages, code blocks, sentences, links, anchors and generated regions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
NOT_RUN = re.compile(r"<!-- not run: .+ -->")
FENCE = re.compile(r"^```(\w*)$")


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str
    is_run: bool


def pages() -> list[Path]:
    top = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*(page for page in top if page.exists()), *sorted((PROJECT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The code blocks in order. A comment "not run: reason" before a block says that nothing can run it."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    start, language = 0, ""
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if fence and not start:
            start, language = number, fence[1]
        elif line == "```" and start:
            is_run = not (start > 1 and NOT_RUN.fullmatch(lines[start - 2]))
            found.append(Block(page, start, language, "\n".join(lines[start : number - 1]), is_run))
            start = 0
    if start:
        raise ValueError(f"{page.name}: the block of line {start} has no end")
    return found


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def sentences(page: Path) -> Iterator[str]:
    """Sentences of paragraphs, list items and table cells."""
    text = re.sub(r"<!--.*?-->", "", prose(page), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.) )|\|", text)
    for paragraph in paragraphs:
        joined = " ".join(paragraph.split())
        yield from (part for part in re.split(r"(?<=[.!?])\s+", joined) if part)


def links(page: Path) -> list[str]:
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
