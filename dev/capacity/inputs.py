"""The inputs of the capacity tables: figures of the benchmarks, and assumptions to replace by your own."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from dev.bench.figures import read

# Traffic
PAGES = 20_000  # distinct addresses of listings and searches, requested by Zipf's law, as products are
QUOTES = 1_000_000  # distinct pairs of product and pincode, by Zipf's law
CDN_PLACES = 10  # where a CDN keeps copies of its own
MEAN_SHARE = 0.4  # mean rate of a month, as a share of the peak rate

# Limits of one server
USED_SHARE = 0.6  # of its CPU time at the peak rate
INSTANCE_CORES, INSTANCE_GB = 4, 4  # of the service: 4 workers
DATABASE_CORES, DATABASE_GB, DATABASE_DISK_GB = 32, 256, 4_000
WRITE_SHARE = 0.5  # of a MySQL server's usable CPU time; the rest serves reads
COMMITS = 5_000  # a second of one MySQL primary, each safe on its disk
HOT_SHARE = 0.2  # of the database that must fit into MySQL's memory
REDIS_GB = 32  # and one core, because Redis runs commands in one thread
GENERATION_READS = 100_000  # a second of one Redis node: each round trip reads the generation at the same node
BALANCER_GBITS = 10
WORKER_CONNECTIONS, DATABASE_CONNECTIONS = 44, 10_000  # to MySQL: docs/architecture.md has those of a worker

# What we set or send
COALESCE_SECONDS = 1.0  # PAGE_COALESCE_SECONDS, where it is set
LISTING_MAX_AGE_SECONDS = 30  # Cache-Control of listings; products are always revalidated
GENERATION_SECONDS = 180  # fresh time of most pages: no copy is used for longer
PAGE_KEPT_SECONDS, PRODUCT_KEPT_SECONDS = 4_200, 240  # in Redis
QUOTE_FRESH_SECONDS, QUOTE_KEPT_SECONDS = 30, 86_400
CLAIM_KEPT_SECONDS = 4 * 86_400  # of a webhook that is done

# Prices in US dollars, 2026-11: round figures between large clouds and smaller hosts
CORE_MONTH, GB_MONTH, DISK_GB_MONTH = 25.0, 4.0, 0.12
EGRESS_GB, CDN_GB, CDN_MILLION = 0.05, 0.02, 0.60
MONTH_SECONDS = 30 * 86_400

KINDS = {  # of docs/figures/load.json: the kind whose cost applies
    "page": ("listing, first page", "listing, next page", "search", "filter by price", "If-None-Match"),
    "product": ("product", "product, before PATCH"),
    "quote": ("delivery quote",),
    "PATCH": ("PATCH", "DELETE"),
    "POST": ("POST",),
    "first delivery": ("webhook",),
}


class Cost(NamedTuple):
    """Of one request."""

    service_ms: float  # CPU time
    mysql_ms: float
    redis_ms: float
    statements: float
    trips: float  # round trips to Redis
    kept: float  # bytes that stay in Redis
    size: float  # bytes of the answer


@lru_cache(maxsize=1)
def costs() -> dict[str, Cost]:
    """By kind: "hot page", "cold page" and so on."""
    return {kind: Cost(*map(float, cells)) for kind, *cells in read("costs")["rows"]}


@lru_cache(maxsize=1)
def mix() -> dict[str, float]:
    """The share of each of KINDS in all requests."""
    rates = {kind: float(rate) for kind, rate, *_ in read("load")["rows"]}
    return {kind: sum(rates[name] for name in names) / rates["all"] for kind, names in KINDS.items()}


@lru_cache(maxsize=1)
def product_bytes() -> float:
    """Of a product in MySQL, with its index entries and search words."""
    return _number(read("sizes")["rows"][-1][2])


def seeding_seconds() -> float:
    """Of one product, in the largest catalogue that was measured."""
    *_, rows = read("scale_seed")["columns"]
    *_, seconds = {name: cells for name, *cells in read("scale_seed")["rows"]}["all, s"]
    return _number(seconds) / _number(rows.split()[0])


def _number(text: str) -> float:
    return float(text.replace(",", ""))
