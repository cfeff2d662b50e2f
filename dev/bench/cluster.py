"""make bench-cluster: pages by Zipf's law for thousands of limited clients, on one Redis and on a Redis Cluster.

Once all processes share the cores, and once the service has a core of its own, as if Redis had other machines.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from dev.bench import wrk
from dev.bench.catalogue import seeded
from dev.bench.client import get_all
from dev.bench.counters import cpu_seconds
from dev.bench.figures import progress, ratios, save, spread, table
from dev.bench.queries import distinct_targets
from dev.bench.stacks import ON_CLUSTER, OURS, WORKERS, Server, running
from dev.bench.turns import TURNS, in_turns, setting
from dev.bench.zipf import DRAWS, QUERIES
from dev.testing.redis_cluster import commands_of, redis_cluster
from dev.testing.redis_nodes import ask
from dev.testing.servers import Daemon, own_redis
from products.catalogue_cache import catalogue_cache

MASTERS = 3
CLIENTS = 5_000
ONE, MANY = "one", f"{MASTERS} masters"
SHARED, APART = "shared", "one of its own"
MASTER_NAMES = ("master with the generation", "second master", "third master")
SECONDS = setting("SECONDS", 8)
WARM_SECONDS = 3
CONNECTIONS = (32, 128, 512)  # with more of them, more requests share a command
MEMORY_ONLY = ("--appendonly", "no")
COLUMNS = (
    "cores of the service",
    "Redis",
    "connections",
    "requests a second",
    "p50 ms",
    "p99 ms",
    "rate / rate on one",
    "CPU of the service, µs each",
)
NODE_COLUMNS = (
    "node",
    "connections",
    "commands a request",
    "of an even share",
    "CPU, µs a request",
    "of an even share",
)


class Stand(NamedTuple):
    """A server of ours, and its Redis."""

    server: Server
    masters: Sequence[Daemon]
    state: Daemon  # the master that has the catalogue's generation


class Place(NamedTuple):
    """Where the service runs. Redis and wrk have the other cores."""

    name: str
    workers: int
    cores: Collection[int]
    other_cores: Collection[int]


Case: TypeAlias = tuple[str, int]  # the name of the server, and the connections


class Turn(NamedTuple):
    load: wrk.Load
    service_cpu: float  # seconds
    commands: Sequence[int]  # of each master
    cpu: Sequence[float]  # seconds of each master


Turns: TypeAlias = Mapping[Case, Sequence[Turn]]


def visits(targets: Sequence[str]) -> Path:
    """Pages by Zipf's law, each for one of CLIENTS addresses."""
    draw = random.Random(3)
    weights = [1 / rank for rank in range(1, len(targets) + 1)]
    pages = draw.choices(targets, weights, k=DRAWS)
    clients = [f"10.0.{number // 250}.{number % 250}" for number in range(CLIENTS)]
    return wrk.write_targets("cluster", [f"{page} {draw.choice(clients)}" for page in pages])


def render(stand: Stand, targets: Sequence[str]) -> None:
    ask(stand.state, "DEL", catalogue_cache.generation_key)
    answers = asyncio.run(get_all(stand.server.port, targets))
    assert {answer.status for answer in answers.values()} == {200}


def take_turn(stand: Stand, walk: Path, connections: int) -> Turn:
    wrk.load(stand.server, walk, WARM_SECONDS, connections)
    service, commands, cpu = cpu_seconds(stand.server.pid), _commands(stand), _cpu(stand)
    load = wrk.load(stand.server, walk, SECONDS, connections)
    if load.errors:
        raise SystemExit(f"{stand.server.name} failed under load: {load}")
    return Turn(
        load,
        cpu_seconds(stand.server.pid) - service,
        [after - before for before, after in zip(commands, _commands(stand), strict=True)],
        [after - before for before, after in zip(cpu, _cpu(stand), strict=True)],
    )


def _commands(stand: Stand) -> list[int]:
    return [commands_of(master) for master in stand.masters]


def _cpu(stand: Stand) -> list[float]:
    return [cpu_seconds(master.pid) for master in stand.masters]


def places() -> list[Place]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench-cluster needs two cores: one for the service, one for Redis and the load")
    return [Place(SHARED, WORKERS, cores, cores), Place(APART, 1, cores[:1], cores[1:])]


@contextmanager
def starting_on(cores: Collection[int]) -> Iterator[None]:
    """Processes that are started meanwhile run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(place: Place, database: str, rows: int) -> Turns:
    turns: dict[Case, list[Turn]] = defaultdict(list)
    with ExitStack() as stack:
        stack.enter_context(starting_on(place.other_cores))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one = stack.enter_context(own_redis(folder, *MEMORY_ONLY))
        cluster = stack.enter_context(redis_cluster(folder / "cluster", MASTERS, 0, *MEMORY_ONLY))
        spread_out = {"REDIS_URL": cluster.url, "REDIS_HASH_TAGS": str(MASTERS)}
        common = {"DATABASE_URL": database, "TRUSTED_PROXY_HOPS": "1", "WEB_CONCURRENCY": str(place.workers)}
        with starting_on(place.cores):
            ours = stack.enter_context(running(OURS, REDIS_URL=one.url, **common))
            on_cluster = stack.enter_context(running(ON_CLUSTER, **spread_out, **common))
        state = cluster.owner_of(catalogue_cache.generation_key)
        masters = [state, *(master for master in cluster.masters() if master is not state)]
        stands = [Stand(ours, [one], one), Stand(on_cluster, masters, state)]
        targets = distinct_targets(ours, rows, QUERIES)
        walk = visits(targets)
        for turn, ordered in enumerate(in_turns(stands), start=1):
            for stand in stands:
                render(stand, targets)
            for connections in CONNECTIONS:
                for stand in ordered:
                    turns[stand.server.name, connections].append(take_turn(stand, walk, connections))
            rates = ", ".join(f"{name} -c{number} {each[-1].load.rate:,.0f}" for (name, number), each in turns.items())
            progress(f"cluster, cores {place.name}, turn {turn} of {TURNS}, requests a second: {rates}")
    return turns


def main(rows: int) -> None:
    database = seeded(rows)
    report(rows, {place.name: measure(place, database, rows) for place in places()})


def report(rows: int, by_place: Mapping[str, Turns]) -> None:
    rate_rows = [
        (place, *_rate_row(redis, connections, turns[name, connections], turns[OURS, connections]))
        for place, turns in by_place.items()
        for connections in CONNECTIONS
        for redis, name in ((ONE, OURS), (MANY, ON_CLUSTER))
    ]
    apart = by_place[APART]
    node_rows = [
        _node_row(node, connections, apart[name, connections], number)
        for connections in CONNECTIONS
        for name, nodes in ((OURS, [ONE]), (ON_CLUSTER, MASTER_NAMES))
        for number, node in enumerate(nodes)
    ]
    print(f"\n{QUERIES:,} pages by Zipf's law for {CLIENTS:,} clients with a limit, {rows:,} products,")
    print(f"wrk -t1 for {SECONDS} s, {TURNS} turns\n")
    print(f"{table(COLUMNS, rate_rows)}\n\n{table(NODE_COLUMNS, node_rows)}", flush=True)
    command = f"make bench-cluster ROWS={rows} TURNS={TURNS} SECONDS={SECONDS}"
    save("cluster", command, COLUMNS, rate_rows)
    save("cluster_nodes", command, NODE_COLUMNS, node_rows)


def _rate_row(name: str, connections: int, turns: Sequence[Turn], one: Sequence[Turn]) -> tuple[str, ...]:
    rates = [turn.load.rate for turn in turns]
    return (
        name,
        f"{connections}",
        spread(rates),
        spread([turn.load.p50 for turn in turns], ".2f"),
        spread([turn.load.p99 for turn in turns], ".2f"),
        ratios(rates, [turn.load.rate for turn in one]),
        spread([turn.service_cpu / _requests(turn) * 1e6 for turn in turns], ".0f"),
    )


def _node_row(name: str, connections: int, turns: Sequence[Turn], number: int) -> tuple[str, ...]:
    return (
        name,
        f"{connections}",
        spread([turn.commands[number] / _requests(turn) for turn in turns], ".2f"),
        spread([turn.commands[number] * len(turn.commands) / sum(turn.commands) for turn in turns], ".2f"),
        spread([turn.cpu[number] / _requests(turn) * 1e6 for turn in turns], ".1f"),
        spread([turn.cpu[number] * len(turn.cpu) / sum(turn.cpu) for turn in turns], ".2f"),
    )


def _requests(turn: Turn) -> float:
    return turn.load.rate * SECONDS
