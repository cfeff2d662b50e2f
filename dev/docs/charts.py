"""python -m dev.docs.charts: draw docs/pictures/*.svg from docs/figures/*.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dev.bench.figures import read
from dev.capacity import report
from dev.docs.drawing import Chart, draw

PICTURES = Path("docs/pictures")


def source(document: dict[str, Any]) -> str:
    return f"{document['command']}; {document['machine']}, {document['measured_at']}"


def median(cell: str) -> str:
    """The part of a cell before its range."""
    return cell.partition(" (")[0]


def hot() -> Chart:
    """Medians of each server, without and with logs and metrics."""
    document = read("hot")
    modes = dict.fromkeys(row[1] for row in document["rows"])
    medians: dict[str, list[str]] = {}
    for server, _, rate, *_ in document["rows"]:
        medians.setdefault(server, []).append(median(rate))
    note = "Every request passes a rate limiter and asks Redis. Bare ASGI does neither."
    return Chart(
        "200 cached pages: requests a second (more is better)",
        (note, source(document)),
        [f"logs and metrics {mode}" for mode in modes],
        list(medians.items()),
    )


def zipf() -> Chart:
    document = read("zipf")
    rows = [(server, (median(rate), median(p99))) for server, rate, _, p99, _ in document["rows"]]
    note = "2,000 cached pages, 32 connections. Each series has its own scale."
    series = ("requests a second (more is better)", "p99 ms (less is better)")
    return Chart("Cached pages by Zipf's law", (note, source(document)), series, rows, has_own_scales=True)


def restart() -> Chart:
    document = read("restart")
    columns = [index for index, name in enumerate(document["columns"]) if name.startswith("second ")]
    rows = [
        (document["columns"][index].removesuffix(", %"), [median(row[index]) for row in document["rows"]])
        for index in columns
    ]
    note = "2,000 cached pages by Zipf's law. Redis kept its pages."
    title = "After a restart: rate in % of the steady rate (more is better)"
    return Chart(title, (note, source(document)), [row[0] for row in document["rows"]], rows)


def mixed() -> Chart:
    document = read("mixed")
    names = [name.removesuffix(" ms") for name in document["columns"][1:5]]
    rows = [(name, [median(row[index]) for row in document["rows"]]) for index, name in enumerate(names, start=1)]
    title = "Hot beside uncached pages: milliseconds (less is better)"
    note = "The series are named by server, and by hot + uncached pages a second."
    return Chart(title, (note, source(document)), [row[0] for row in document["rows"]], rows)


def outage() -> Chart:
    document = read("outage")
    meanwhile = document["columns"].index("p95 meanwhile, ms")
    by_fault: dict[str, list[str]] = {}
    for row in document["rows"]:
        by_fault.setdefault(f"Redis {row[0]}", []).append(median(row[meanwhile]))
    servers = list(dict.fromkeys(row[1] for row in document["rows"]))
    note = "150 hot pages a second. Failed: more than a twentieth got an error, or no answer in 10 s."
    title = "While Redis fails: p95 in milliseconds (less is better)"
    return Chart(title, (note, source(document)), servers, list(by_fault.items()))


def scale() -> Chart:
    document = read("scale")
    small, large = (name.removesuffix(", ms") for name in document["columns"][1:3])
    note = "Medians of six sorts, of first pages and pages from the middle. No page is cached."
    rows = [(name, (few, many)) for name, few, many, *_ in document["rows"]]
    return Chart("Page from MySQL: milliseconds (less is better)", (note, source(document)), (small, large), rows)


def load() -> Chart:
    document = read("load")
    names = [name.removesuffix(" ms") for name in document["columns"][2:5]]
    rows = [(row[0], row[2:5]) for row in document["rows"]]
    rates = f"{document['rows'][-1][1]} requests a second in all, from users who pause like people."
    return Chart("Realistic traffic: milliseconds (less is better)", (rates, source(document)), names, rows)


def soak() -> Chart:
    document = read("soak")
    rows = [(row[0].removesuffix(", MiB"), row[1:3]) for row in document["rows"] if row[0].endswith("RSS, MiB")]
    note = "Medians of resident memory, before and after a time at a fixed rate."
    return Chart("Soak: MiB of each process", (note, source(document)), document["columns"][1:3], rows)


def charts() -> dict[Path, str]:
    """The text of each chart by its file."""
    drawn = {"hot": hot, "zipf": zipf, "restart": restart, "mixed": mixed, "outage": outage, "scale": scale}
    drawn |= {"load": load, "soak": soak, "capacity": report.chart}
    return {PICTURES / f"{name}.svg": draw(make()) for name, make in drawn.items()}


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for file, svg in charts().items():
        file.write_text(svg)


if __name__ == "__main__":
    main()
