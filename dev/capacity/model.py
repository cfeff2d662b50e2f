"""From a rate of requests and a number of products to CPU time, memory, servers and cost."""

from __future__ import annotations

import math
from typing import NamedTuple

from dev.capacity import inputs, traffic
from dev.capacity.inputs import USED_SHARE


class Load(NamedTuple):
    rate: float  # requests a second at the peak, before a CDN
    products: int
    coalesce: float = 0.0  # PAGE_COALESCE_SECONDS
    has_cdn: bool = False


class Need(NamedTuple):
    """Of all servers of a kind together."""

    load: Load
    changes: float  # transactions a second
    hits: float  # share of cached answers among listings and products, a CDN's included
    service_cores: float
    page_cores: float  # MySQL: listings, which each shard computes
    row_cores: float  # MySQL: other reads, which one shard answers
    write_cores: float
    redis_cores: float
    redis_trips: float  # a second
    redis_gb: float
    database_gb: float
    partner_calls: float  # a second
    origin_bytes: float  # a second
    visitor_bytes: float

    @property
    def seeding_hours(self) -> float:
        return self.load.products * inputs.seeding_seconds() / 3600


def need(load: Load) -> Need:
    mix, costs = inputs.mix(), inputs.costs()
    rates = {kind: load.rate * share for kind, share in mix.items()}
    changes = rates["PATCH"] + rates["POST"] + rates["first delivery"]
    generation = min(inputs.GENERATION_SECONDS, load.coalesce + 1 / changes)
    pages, products = traffic.zipf(rates["page"], inputs.PAGES), traffic.zipf(rates["product"], load.products)
    if load.has_cdn:
        pages = traffic.behind(pages, inputs.CDN_PLACES, inputs.LISTING_MAX_AGE_SECONDS)
    quotes = traffic.zipf(rates["quote"], inputs.QUOTES)
    cold_pages, cold_products = traffic.misses(pages, generation), traffic.misses(products, generation)
    new_quotes = traffic.misses(quotes, inputs.QUOTE_FRESH_SECONDS)
    counts = {
        "cold page": cold_pages,
        "hot page": traffic.total(pages) - cold_pages,
        "cold product": cold_products,
        "hot product": rates["product"] - cold_products,
        "new quote": new_quotes,
        "known quote": rates["quote"] - new_quotes,
        **{kind: rates[kind] for kind in ("PATCH", "POST", "first delivery")},
    }

    def added(field: str, *kinds: str) -> float:
        return sum(counts[kind] * float(getattr(costs[kind], field)) for kind in kinds or counts)

    kept = (
        traffic.kept(pages, inputs.PAGE_KEPT_SECONDS) * costs["cold page"].kept
        + traffic.kept(products, inputs.PRODUCT_KEPT_SECONDS) * costs["cold product"].kept
        + traffic.kept(quotes, inputs.QUOTE_KEPT_SECONDS) * costs["new quote"].kept
        + rates["first delivery"] * inputs.CLAIM_KEPT_SECONDS * costs["first delivery"].kept
    )
    asked = rates["page"] + rates["product"]
    size = added("size")
    return Need(
        load=load,
        changes=changes,
        hits=1 - (cold_pages + cold_products) / asked,
        service_cores=added("service_ms") / 1000,
        page_cores=added("mysql_ms", "cold page", "hot page") / 1000,
        row_cores=added("mysql_ms", "cold product", "hot product", "new quote", "known quote") / 1000,
        write_cores=added("mysql_ms", "PATCH", "POST", "first delivery") / 1000,
        redis_cores=added("redis_ms") / 1000,
        redis_trips=added("trips"),
        redis_gb=kept / 1e9,
        database_gb=load.products * inputs.product_bytes() / 1e9,
        partner_calls=new_quotes,
        origin_bytes=size,
        visitor_bytes=size + (rates["page"] - traffic.total(pages)) * costs["hot page"].size,
    )


def write_share(need: Need) -> float:
    """Of what one MySQL primary can write: above 1, it needs shards."""
    of_cpu = need.write_cores / inputs.DATABASE_CORES / USED_SHARE / inputs.WRITE_SHARE
    return max(of_cpu, need.changes / inputs.COMMITS)


class Fleet(NamedTuple):
    """Servers for a need. A MySQL shard is a primary and its replicas; each Redis node has a replica."""

    instances: int
    shards: int
    replicas: int  # of each shard
    database_cores: int  # of each server
    database_gb: int
    redis_nodes: int
    redis_gb: int  # of each node

    @property
    def database_servers(self) -> int:
        return self.shards * (1 + self.replicas)


def fleet(need: Need) -> Fleet:
    usable = inputs.DATABASE_CORES * USED_SHARE
    hot_gb = need.database_gb * inputs.HOT_SHARE
    shards = _servers(
        write_share(need),
        hot_gb / inputs.DATABASE_GB,
        need.database_gb / inputs.DATABASE_DISK_GB,
    )
    writes, reads = need.write_cores / shards, need.page_cores + need.row_cores / shards
    replicas = _servers(reads / (usable - writes))
    nodes = _servers(need.redis_cores / USED_SHARE, need.redis_gb / inputs.REDIS_GB)
    return Fleet(
        instances=max(2, _servers(need.service_cores / inputs.INSTANCE_CORES / USED_SHARE)),
        shards=shards,
        replicas=replicas,
        database_cores=_size((writes + reads / replicas) / USED_SHARE, 2),
        database_gb=_size(hot_gb / shards, 4),
        redis_nodes=nodes,
        redis_gb=_size(need.redis_gb / nodes, 1),
    )


def _servers(*used: float) -> int:
    """used: shares of one server, each of another resource."""
    return max(1, *(math.ceil(share) for share in used))


def _size(needed: float, least: int) -> int:
    """The next power of two."""
    return int(max(least, 2 ** math.ceil(math.log2(max(needed, 1)))))


def dollars_a_month(need: Need) -> float:
    """Servers for the peak rate, and traffic at the mean rate."""
    found, load = fleet(need), need.load
    disk_gb = need.database_gb * 2 / found.shards  # room for changes of tables
    database = found.database_cores * inputs.CORE_MONTH + found.database_gb * inputs.GB_MONTH
    redis = 2 * found.redis_nodes * (inputs.CORE_MONTH + found.redis_gb * inputs.GB_MONTH)
    instance = inputs.INSTANCE_CORES * inputs.CORE_MONTH + inputs.INSTANCE_GB * inputs.GB_MONTH
    servers = found.instances * instance + found.database_servers * (database + disk_gb * inputs.DISK_GB_MONTH) + redis
    seconds = inputs.MONTH_SECONDS * inputs.MEAN_SHARE
    sent = need.origin_bytes * inputs.EGRESS_GB
    if load.has_cdn:
        sent += need.visitor_bytes * inputs.CDN_GB + load.rate * 1000 * inputs.CDN_MILLION
    return servers + sent / 1e9 * seconds
