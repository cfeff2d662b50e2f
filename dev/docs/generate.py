"""make docs: fills the regions of the documentation that are derived from other files.

A region stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`. The region "figures FILE" is the whole table
of docs/figures/FILE.json, which a benchmark has written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from dev.bench.figures import read, table
from dev.capacity import report
from dev.docs import charts
from dev.docs.pages import PROJECT, pages
from dev.docs.performance import performance_table
from dev.docs.reliability import faults_table

README, CAPACITY = PROJECT / "README.md", PROJECT / "docs/capacity.md"
REGION = re.compile(r"(<!-- ([\w ]+): begin -->\n)(.*?)(<!-- \2: end -->)", re.DOTALL)

# What README groups: text, query that it serves, pattern of the names in sizes.json.
INDEXES = [
    (
        "product `(is_active, SORT, id, price)`, 2 of them",
        "by date or name; also in a price range",
        r"product product_(created_at|name)",
    ),
    (
        "product `(is_active, price, id, created_at, name)`",
        "by price; also a narrow range in another sort",
        r"product product_price",
    ),
    (
        "product `(FILTER_id, is_active, SORT, id)`, 15 of them",
        "category, commodity, state, district or farm, in each sort",
        r"product product_\w+_(created_at|price|name)",
    ),
    ("posting `(term, SORT, product_id)`, 3 of them", "a word of a search, in each sort", r"posting .*"),
]

SECTIONS = ("Several servers", "Watching")  # of .env.example, in its order; each has a table in a page of its own


def settings_table(section: str = "") -> str:
    """From .env.example, where a comment explains each variable. test_settings.py compares that with settings.py.

    section: one of SECTIONS; "" is all before them.
    """
    rows = []
    comment: list[str] = []
    is_required = True
    main, *others = re.split(rf"\n# (?={'|'.join(SECTIONS)})", (PROJECT / ".env.example").read_text())
    for line in (dict(zip(SECTIONS, others, strict=True)) | {"": main})[section].splitlines():
        if line.startswith("# Optional"):
            is_required = False
        if variable := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            default = "required" if is_required and not section else f"`{variable[2]}`" if variable[2] else "none"
            rows.append((f"`{variable[1]}`", default, _cell(" ".join(comment))))
        comment = [*comment, line.removeprefix("# ")] if line.startswith("# ") else []
    return table(("Variable", "Default", "Meaning"), rows)


def _cell(text: str) -> str:
    """URLs and commands as code, so that they stay as they are."""
    return re.sub(r"((?:https?|mysql|rediss?)://\S*[\w/]|\?ssl_\S+|python -c '[^']*')", r"`\1`", text)


def figures_table(name: str) -> str:
    figures = read(name)
    return table(figures["columns"], figures["rows"])


def index_table() -> str:
    sizes = read("sizes")["rows"]
    rows = []
    for text, query, pattern in INDEXES:
        total = sum(int(size.replace(",", "")) for name, size, _ in sizes if re.fullmatch(pattern, name))
        rows.append((text, query, f"{total:,}"))
    return f"{table(('Index', 'Query that it serves', 'MiB for a million products'), rows)}\n\n{_write_cost()}"


def _write_cost() -> str:
    count = sum(name.startswith("product product_") for name, *_ in read("sizes")["rows"])
    bare, indexed, postings, *_ = (float(median) for _, median, _ in read("writes")["rows"])
    return (
        f"The {count} indexes add {indexed - bare:.1f} ms to the INSERT of a product, and its postings take "
        f"{postings:.1f} ms. All indexes are ascending, because InnoDB reads them in both directions."
    )


def _content(name: str) -> str:
    kind, _, rest = name.partition(" ")
    if kind == "figures":
        return figures_table(rest)
    if kind == "capacity":
        return report.TABLES[rest]()
    tables: dict[str, Callable[[], str]] = {
        "settings": settings_table,
        "watching": partial(settings_table, "Watching"),
        "servers": partial(settings_table, "Several servers"),
        "performance": performance_table,
        "indexes": index_table,
        "faults": faults_table,
    }
    return tables[name]()


def generated(text: str) -> str:
    return REGION.sub(lambda region: f"{region[1]}{_content(region[2])}\n{region[4]}", text)


def main() -> None:
    for page in pages():
        page.write_text(generated(page.read_text()))
    charts.main()


if __name__ == "__main__":
    main()
