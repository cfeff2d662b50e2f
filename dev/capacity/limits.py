"""The capacity limits of one server of each kind, and where a load reaches them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dev.capacity import inputs
from dev.capacity.inputs import USED_SHARE
from dev.capacity.model import Load, Need, need, write_share

MOST_RATE, MOST_PRODUCTS = 10**8, 10**12
STEPS = 40  # of bisection


class Limit(NamedTuple):
    """used: the share of one server that a need takes. then: the change that follows."""

    name: str
    used: Callable[[Need], float]
    then: str


RATE_LIMITS = (
    Limit(
        "CPU of one instance",
        lambda it: it.service_cores / inputs.INSTANCE_CORES / USED_SHARE,
        "more instances behind nginx or a load balancer",
    ),
    Limit(
        "CPU of one MySQL server",
        lambda it: (it.page_cores + it.row_cores + it.write_cores) / inputs.DATABASE_CORES / USED_SHARE,
        "read replicas: `DATABASE_REPLICA_URL`",
    ),
    Limit(
        "CPU or memory of one Redis",
        lambda it: max(it.redis_cores / USED_SHARE, it.redis_gb / inputs.REDIS_GB),
        "a Redis Cluster: `REDIS_HASH_TAGS`",
    ),
    Limit(
        "writes of one MySQL primary",
        write_share,
        "shards by product id",
    ),
    Limit(
        "connections of one MySQL server",
        lambda it: it.service_cores / USED_SHARE * inputs.WORKER_CONNECTIONS / inputs.DATABASE_CONNECTIONS,
        "a pool of connections between, such as ProxySQL",
    ),
    Limit(
        "the Redis node of the generation",
        lambda it: it.redis_trips / inputs.GENERATION_READS,
        "a CDN; then one Redis for each region",
    ),
    Limit(
        "network of one load balancer",
        lambda it: it.origin_bytes * 8 / 1e9 / inputs.BALANCER_GBITS,
        "a CDN; several addresses in DNS",
    ),
)
SIZE_LIMITS = (
    Limit(
        "memory of one MySQL server",
        lambda it: it.database_gb * inputs.HOT_SHARE / inputs.DATABASE_GB,
        "shards by product id",
    ),
    Limit("disk of one MySQL server", lambda it: it.database_gb / inputs.DATABASE_DISK_GB, "shards by product id"),
)


def reached_at_rate(limit: Limit, load: Load) -> float:
    """Requests a second."""
    return _reached(lambda rate: limit.used(need(load._replace(rate=rate))), MOST_RATE)


def reached_at_size(limit: Limit, load: Load) -> float:
    """Products."""
    return _reached(lambda products: limit.used(need(load._replace(products=int(products)))), MOST_PRODUCTS)


def _reached(used: Callable[[float], float], most: float) -> float:
    low, high = 1.0, most
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if used(middle) >= 1 else (middle, high)
    return high


def next_limit(it: Need, limits: Sequence[Limit]) -> str:
    """The one that is nearest to its end. Those that have been passed were changed."""
    ahead = {limit.name: limit.used(it) for limit in limits if limit.used(it) < 1}
    return max(ahead, key=lambda name: ahead[name], default="none of these")
