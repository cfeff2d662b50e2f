"""Closed loops: wrk keeps its connections busy with a list of targets."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dev.bench.cached_pages import render
from dev.bench.figures import progress, ratios, spread
from dev.bench.stacks import FOLDER, OURS, Server
from dev.bench.turns import TURNS, in_turns

COLUMNS = ("requests a second", "p50 ms", "p99 ms", f"{OURS} / server")
TIMEOUT_SECONDS = 10
CONNECTIONS = 32


class Load(NamedTuple):
    rate: float  # requests a second
    p50: float  # milliseconds
    p99: float
    errors: int  # no answer, or a status of 400 and more
    mean_bytes: float  # of a response, with its headers
    windows: list[int]  # requests in each second


def write_targets(name: str, targets: Sequence[str]) -> Path:
    """Write the list that wrk walks, and begins again at its end."""
    file = FOLDER / f"{name}.targets"
    file.write_text("\n".join([*targets, ""]))
    return file


def load(server: Server, targets: Path, seconds: int, connections: int = CONNECTIONS) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s", "--latency"]
    command += ["-s", "dev/bench/walk.lua", server.url("/"), "--", str(targets)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    result = json.loads(run.stdout.splitlines()[-1])
    return Load(
        result["requests"] / result["duration"] * 1e6,
        result["p50"] / 1000,
        result["p99"] / 1000,
        result["errors"],
        result["bytes"] / max(result["requests"], 1),
        result["windows"],
    )


def steady_load(server: Server, targets: Path, seconds: int, warm_seconds: int = 1) -> Load:
    """Measure after a warm-up; all answers must be good."""
    load(server, targets, warm_seconds)
    result = load(server, targets, seconds)
    if result.errors:
        raise SystemExit(f"{server.name} failed under load: {result}")
    return result


def loads_in_turns(
    title: str, servers: Sequence[Server], rendered: Sequence[str], targets: Path, seconds: int, warm_seconds: int = 1
) -> dict[str, list[Load]]:
    """Loads by server, one for each turn. Each turn first renders these pages of the first server, which is ours."""
    loads: dict[str, list[Load]] = defaultdict(list)
    for turn, ordered in enumerate(in_turns(servers), start=1):
        render(servers[0], rendered)
        for server in ordered:
            loads[server.name].append(steady_load(server, targets, seconds, warm_seconds))
        rates = ", ".join(f"{server.name} {loads[server.name][-1].rate:,.0f}" for server in servers)
        progress(f"{title}, turn {turn} of {TURNS}, requests a second: {rates}")
    return loads


def cells(turns: Sequence[Load], ours: Sequence[Load]) -> tuple[str, ...]:
    """The COLUMNS of one server."""
    rates = [turn.rate for turn in turns]
    return (
        spread(rates),
        spread([turn.p50 for turn in turns], ".2f"),
        spread([turn.p99 for turn in turns], ".2f"),
        ratios([turn.rate for turn in ours], rates),
    )
