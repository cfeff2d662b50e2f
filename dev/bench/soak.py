"""make soak: the traffic of `make load` at a fixed rate. Fails if what the processes hold has grown at its end.

Before the first minute it finds the peak rate and warms up, for longer than pages with many addresses stay in Redis. So
caches, pools and keys are as full as they get, and whatever still grows would grow without end. The last minute is
compared with minute two.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dev.bench.client import get_all
from dev.bench.figures import progress, save, table
from dev.bench.turns import setting
from dev.load import runs
from dev.load.catalogue import Catalogue
from dev.load.runs import Load
from dev.load.samples import GROWING, Sample, Sampler
from dev.load.service import Service, whole_service

MINUTES = setting("MINUTES", 30)
RATE = setting("RATE", 0)  # 0: half of the peak
# Pages with many addresses stay in Redis for 4 minutes. A worker's heap settles later, when pages have replaced others.
WARM_MINUTES = setting("WARM_MINUTES", 10)
SAMPLE_SECONDS = 10
PEAK_USERS, PEAK_SECONDS = (50, 100, 200), 20
USERS, VISITORS, WRITERS = 50, 45, 5  # as locustfile.py divides them
SMALL_PAGES, CONNECTIONS = 20_000, 16  # each worker keeps 32 MiB of pages
WRITER_TIMES = 5  # a visitor does as much as that many of the others
GROWTH = 1.05
# A few more are noise: a thread more or less in a pool, a page more or less among the keys.
SLACK = {"threads": 2, "descriptors": 4, "connections": 2, "lines": 5}
SAMPLES = Path(".local/soak.jsonl")
COLUMNS = ("", "minute two", "last minute", "change, %")


def find_peak(service: Service) -> float:
    """The most requests a second with users who pause like people."""
    rates = []
    for users in PEAK_USERS:
        rows = runs.run(service.url, Load(users, PEAK_SECONDS), service.secrets)
        rates.append(float(rows[-1]["Requests/s"]))
    return max(rates)


def fill_caches(service: Service) -> None:
    """Fill the workers' memory by small pages, which cost most, and read every listing, product and quote: these stay
    in Redis for over an hour, so the rarest would be new keys until then."""
    catalogue = Catalogue()
    catalogue.read(service.url)
    products = [f"/products/{pk}" for pk in catalogue.products]
    small = [f"/products?limit=1&price_min={number / 100:.2f}" for number in range(SMALL_PAGES)]
    asyncio.run(get_all(service.server.port, [*small, *catalogue.listings, *products, *catalogue.quotes], CONNECTIONS))


def collect(service: Service, rate: float) -> tuple[list[Sample], float]:
    """The samples of all minutes, without the warm-up; and the rate that was reached."""
    load = Load(USERS, (WARM_MINUTES + MINUTES) * 60, rate / (VISITORS + WRITERS / WRITER_TIMES))
    sampler, samples = Sampler(service), []
    with runs.running(service.url, load, service.secrets) as locust, SAMPLES.open("w") as lines:
        start = time.monotonic() + WARM_MINUTES * 60
        while runs.wait(locust, SAMPLE_SECONDS) and time.monotonic() < start + MINUTES * 60:
            sample = sampler.take() | {"second": time.monotonic() - start}
            lines.write(json.dumps(sample) + "\n")
            lines.flush()
            samples.append(sample)
            progress(f"{sample['second'] / 60:+.1f} min: {runs.state()}; {_brief(sample)}")
    return [sample for sample in samples if sample["second"] > 0], float(runs.statistics()[-1]["Requests/s"])


def _brief(sample: Sample) -> str:
    return ", ".join(f"{name} {sample[name]:.0f}" for name in sample if name.startswith("worker") and "RSS" in name)


def medians(samples: Sequence[Sample], first: float, last: float) -> Sample:
    """Between these seconds."""
    chosen = [sample for sample in samples if first <= sample["second"] <= last]
    return {name: statistics.median(sample[name] for sample in chosen) for name in chosen[0] if name != "second"}


def has_grown(name: str, before: float, after: float) -> bool:
    slack = next((slack for end, slack in SLACK.items() if name.endswith(end)), 0)
    return GROWING not in name and after > before * GROWTH and after - before > slack


def row(name: str, before: float, after: float) -> tuple[str, ...]:
    form = ",.1f" if "MiB" in name else ",.0f"
    return (name, f"{before:{form}}", f"{after:{form}}", f"{100 * (after / before - 1) if before else 0:+.1f}")


def main(rows: int) -> None:
    if MINUTES < 3:
        raise SystemExit("make soak: MINUTES must be 3 or more, to compare the last one with minute two")
    with whole_service(rows) as service:
        rate = RATE or find_peak(service) / 2
        progress(f"{rate:.0f} requests/s for {WARM_MINUTES} min to warm up, then for {MINUTES} min")
        fill_caches(service)
        samples, reached = collect(service, rate)
    before, after = medians(samples, 60, 120), medians(samples, (MINUTES - 1) * 60, MINUTES * 60)
    report = [row(name, before[name], after[name]) for name in before]
    print(f"\n{MINUTES} minutes at {reached:.0f} requests/s on {rows:,} products; samples: {SAMPLES}\n")
    print(table(COLUMNS, report), flush=True)
    save(
        "soak", f"make soak ROWS={rows} MINUTES={MINUTES} WARM_MINUTES={WARM_MINUTES} RATE={rate:.0f}", COLUMNS, report
    )
    if grown := [name for name in before if has_grown(name, before[name], after[name])]:
        sys.exit(f"make soak: grown by more than 5 %: {'; '.join(grown)}")
